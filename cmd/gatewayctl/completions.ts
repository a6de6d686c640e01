/** `gatewayctl completions`: what a shell is to know of the commands and flags, from the tables that the program reads itself. */
import type { Option } from '../../src/config/index.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

export interface Completable {
  readonly name: string
  readonly sentence: string
}

export function isShell(text: string): text is Shell {
  return (SHELLS as readonly string[]).includes(text)
}

export function completionScript(
  shell: Shell,
  commands: readonly Completable[],
  options: readonly Option[],
): string {
  const flags = [...options, ...ALWAYS].map(({ flag, sentence }) => ({ name: flag, sentence }))
  switch (shell) {
    case 'bash':
      return bash(commands, flags)
    case 'zsh':
      return zsh(commands, flags)
    case 'fish':
      return fish(commands, flags)
  }
}

const ALWAYS = [
  { flag: 'help', sentence: 'Prints this and exits with 0.' },
  { flag: 'version', sentence: 'Prints the version and exits with 0.' },
]

function bash(commands: readonly Completable[], flags: readonly Completable[]): string {
  const words = commands.map(({ name }) => name).join(' ')
  return `# eval "$(gatewayctl completions bash)"
_gatewayctl() {
  local current=\${COMP_WORDS[COMP_CWORD]} command= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ -n $word && " ${words} " == *" $word "* ]] && command=$word
  done
  COMPREPLY=()
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "${flags.map(({ name }) => `-${name}`).join(' ')}" -- "$current"))
  elif [[ -z $command ]]; then
    COMPREPLY=($(compgen -W "${words}" -- "$current"))
  elif [[ $command == completions ]]; then
    COMPREPLY=($(compgen -W "${SHELLS.join(' ')}" -- "$current"))
  fi
}
complete -F _gatewayctl gatewayctl
`
}

function zsh(commands: readonly Completable[], flags: readonly Completable[]): string {
  const entries = (of: readonly Completable[], dash: string): string =>
    of.map(({ name, sentence }) => `    ${quoted(`${dash}${name}:${sentence}`)}`).join('\n')
  return `#compdef gatewayctl
# eval "$(gatewayctl completions zsh)", after compinit; or as the file _gatewayctl in a folder of $fpath
_gatewayctl() {
  local -a commands=(
${entries(commands, '')}
  )
  local -a flags=(
${entries(flags, '-')}
  )
  if [[ $PREFIX == -* ]]; then
    _describe -o flag flags
  elif (( \${words[(I)completions]} )); then
    compadd ${SHELLS.join(' ')}
  else
    _describe command commands
  fi
}
compdef _gatewayctl gatewayctl
`
}

function fish(commands: readonly Completable[], flags: readonly Completable[]): string {
  const words = commands.map(({ name }) => name).join(' ')
  return [
    '# gatewayctl completions fish | source',
    'complete -c gatewayctl -f',
    ...commands.map(
      ({ name, sentence }) =>
        `complete -c gatewayctl -n 'not __fish_seen_subcommand_from ${words}' -a ${name} -d ${quoted(sentence)}`,
    ),
    `complete -c gatewayctl -n '__fish_seen_subcommand_from completions' -a '${SHELLS.join(' ')}'`,
    ...flags.map(
      ({ name, sentence }) => `complete -c gatewayctl -o ${name} -d ${quoted(sentence)}`,
    ),
    '',
  ].join('\n')
}

/** For any of the shells: single quotes, and none within. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", '’')}'`
}
