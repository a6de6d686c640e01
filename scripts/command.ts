import { spawn } from 'node:child_process'

export interface CommandResult {
  /** The command as one would type it. */
  readonly line: string
  /** The exit code; -1 when it was killed or could not be started. */
  readonly code: number
  /** Both of its outputs, as they came. */
  readonly output: string
}

/** Runs a program to its end and keeps what it prints: shown only when it fails. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string | undefined>>
    readonly cwd?: string
  } = {},
): Promise<CommandResult> {
  const child = spawn(command, [...args], {
    env: { ...(options.env ?? process.env) },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number>((resolve) => {
    child.once('error', (error) => {
      output += error.message
      resolve(-1)
    })
    child.once('close', (exitCode) => resolve(exitCode ?? -1))
  })
  return { line: [command, ...args].join(' '), code, output }
}
