import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The project's own files: what git keeps or would keep, as paths from the top with `/`. */
export const projectDir = fileURLToPath(new URL('../..', import.meta.url))

export const projectFiles: readonly string[] = (filesOfGit() ?? filesOfFolder()).filter((path) =>
  statSync(projectDir + path, { throwIfNoEntry: false })?.isFile(),
)

function filesOfGit(): string[] | null {
  const { status, stdout } = spawnSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '-z'],
    { cwd: projectDir, encoding: 'utf8' },
  )
  return status === 0 ? stdout.split('\0').filter((path) => path !== '') : null
}

/** Where there is no git, as in an unpacked archive. */
function filesOfFolder(): string[] {
  return readdirSync(projectDir, { recursive: true, encoding: 'utf8' }).filter(
    (path) =>
      !/(^|\/)(node_modules|dist|coverage|gateway-data|\.git)\/|\.(log|cpuprofile)$/.test(path),
  )
}

export function readProjectFile(path: string): string {
  return readFileSync(projectDir + path, 'utf8')
}

/** `path:line` of every line that matches, for a failure that can be clicked. */
export function linesMatching(paths: readonly string[], pattern: RegExp): string[] {
  const found: string[] = []
  for (const path of paths) {
    for (const [index, line] of readProjectFile(path).split('\n').entries()) {
      if (pattern.test(line)) found.push(`${path}:${index + 1}: ${line.trim().slice(0, 100)}`)
    }
  }
  return found
}
