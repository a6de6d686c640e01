import { envName, type Option } from './option.ts'

/** The text of -help. */
export function renderHelp(program: string, summary: string, options: readonly Option[]): string {
  const lines = [
    `${program}: ${summary}`,
    '',
    'Flags (one or two dashes, -flag value or -flag=value):',
    '',
  ]
  for (const option of options) {
    const names = [option.flag, ...(option.aliases ?? [])].map((name) => `-${name}`).join(', ')
    const value = option.choices === undefined ? '' : ` ${option.choices.join('|')}`
    const unit = option.unit === undefined ? '' : `, in ${option.unit}`
    const standard = option.default === '' ? '' : ` (default ${option.default}${unit})`
    lines.push(`  ${names}${value}`, `      ${option.sentence}${standard}`)
  }
  lines.push(
    '  -help',
    '      Prints this and exits with 0.',
    '  -version',
    '      Prints the version and exits with 0.',
    '',
    'Each flag can be given as an environment variable: GATEWAY_ and the flag in capitals, with _ for -.',
    'The flag wins over the variable, the variable over the default; an empty value means not given.',
  )
  return `${lines.join('\n')}\n`
}

/** One program's section of docs/config.md. */
export function renderOptionTable(options: readonly Option[]): string {
  const rows = options.map((option) => {
    const flags = [option.flag, ...(option.aliases ?? [])].map((name) => `\`-${name}\``).join(', ')
    const variables = [envName(option.flag), ...(option.env ?? [])].map((name) => `\`${name}\``)
    const standard = option.default === '' ? '' : `\`${option.default}\``
    const unit = option.unit ?? ''
    const choices =
      option.choices === undefined
        ? ''
        : ` One of ${option.choices.map((choice) => `\`${choice}\``).join(', ')}.`
    return `| ${flags} | ${variables.join(', ')} | ${standard} | ${unit} | ${(option.sentence + choices).replaceAll('|', '\\|')} |`
  })
  return [
    '| flag | environment | default | unit | meaning |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}
