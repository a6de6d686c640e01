import { spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BENCH_FLAGS } from '../bench/flags.ts'
import { messageOf, nearest } from '../src/base/index.ts'
import { systemPlaces } from '../tests/support/binaries.ts'
import { writeTable } from './bench-tables.ts'
import { runCommand } from './command.ts'
import { buildOracle, isOracleBuilt } from './oracle.ts'
import { provideSystemPackages } from './system-packages.ts'

/** Runs benches by name, compiled: a test runner's or loader's rewriting would distort what they measure. */

const projectDir = fileURLToPath(new URL('..', import.meta.url))
const SUFFIX = '.bench.ts'
const names = readdirSync(join(projectDir, 'bench'))
  .filter((file) => file.endsWith(SUFFIX))
  .map((file) => file.slice(0, -SUFFIX.length))

/** A run of its own, never a part of `all`. */
const APART = 'guard'
/** What `all` runs of a bench that has scenarios. */
const RUNS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  pipeline: [
    ['-scenario', 'peak'],
    ['-scenario', 'peak', '-cache'],
    ['-scenario', 'saturated'],
    ['-scenario', 'saturated', '-cache'],
    ['-scenario', 'few'],
    ['-scenario', 'presence'],
    ['-scenario', 'messages'],
    ['-scenario', 'quiet'],
    ['-scenario', 'storm'],
    ['-scenario', 'reconnect'],
    ['-scenario', 'stall'],
  ],
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
}

async function main(argv: readonly string[]): Promise<number> {
  const isHelp = argv.some((word) => /^--?h(elp)?$/.test(word))
  const name = argv[0]
  if (isHelp || name === undefined || name.startsWith('-')) {
    console.log(help())
    return isHelp ? 0 : 1
  }
  if (name !== 'all' && !names.includes(name)) {
    const guess = nearest(name, [...names, 'all'])
    const hint = guess === null ? `there are ${names.join(', ')} and all` : `did you mean ${guess}?`
    throw new Error(`There is no bench ${name}; ${hint}`)
  }
  await build()
  let worst = 0
  const totals = { rows: 0, met: 0, missed: 0 }
  // `guard -write` stores its ratios; everywhere else the flag is for the tables.
  const isWriting = name !== APART && argv.includes('-write')
  const rest = argv.slice(1).filter((word) => !isWriting || (word !== '-write' && word !== '-json'))
  for (const one of name === 'all' ? names.filter((entry) => entry !== APART) : [name]) {
    const lines: string[] = []
    for (const own of name === 'all' || isWriting ? (RUNS[one] ?? [[]]) : [[]]) {
      const flags = isWriting ? ['-json', ...own, ...rest] : [...own, ...rest]
      worst = Math.max(worst, await run(one, flags, totals, lines))
    }
    if (isWriting) writeTable(join(projectDir, 'bench/README.md'), one, lines)
  }
  if (name === 'all' && argv.includes('-json')) {
    console.log(JSON.stringify({ bench: 'all', ...totals }))
  }
  return worst
}

function help(): string {
  const flags = Object.entries(BENCH_FLAGS).map(([flag, text]) => `  -${flag.padEnd(10)}${text}`)
  return [
    'Usage: npm run bench -- <name> [flags]',
    '',
    `Names: ${[...names, 'all'].join(', ')}. bench/README.md tells what each row means.`,
    '',
    '-write puts the rows into the tables of bench/README.md; `guard -write` stores its ratios.',
    '',
    ...flags,
  ].join('\n')
}

/** What the benches need, where it is missing or older than its source. */
async function build(): Promise<void> {
  if (isDistStale()) {
    const tsc = join(projectDir, 'node_modules/.bin/tsc')
    const result = await runCommand(tsc, ['-p', 'tsconfig.build.json'], { cwd: projectDir })
    if (result.code !== 0) throw new Error(`${result.line} failed:\n${result.output.trim()}`)
  }
  const machine = { places: systemPlaces, isRoot: process.getuid?.() === 0, rootDir: '/' }
  await provideSystemPackages({ ...machine, say: (line) => console.error(line) }, !isOracleBuilt())
  if (!isOracleBuilt()) {
    console.error('Compiling the rivals (tests/oracle).')
    await buildOracle()
  }
}

function isDistStale(): boolean {
  const compiled = names.map((name) => join(projectDir, `dist/bench/${name}.bench.js`))
  if (!compiled.every((file) => existsSync(file))) return true
  const built = Math.min(...compiled.map((file) => statSync(file).mtimeMs))
  return ['cmd', 'src', 'sim', 'bench'].some((folder) =>
    readdirSync(join(projectDir, folder), { recursive: true, encoding: 'utf8' }).some(
      (file) => file.endsWith('.ts') && statSync(join(projectDir, folder, file)).mtimeMs > built,
    ),
  )
}

/** Its stdout passes through; the summary at the end of `-json` is added up. */
async function run(
  name: string,
  argv: readonly string[],
  totals: { rows: number; met: number; missed: number },
  lines: string[],
): Promise<number> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', join(projectDir, `dist/bench/${name}.bench.js`), ...argv],
    { cwd: projectDir, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const stop = (): void => void child.kill('SIGTERM')
  process.once('SIGINT', stop).once('SIGTERM', stop)
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk)
    text += chunk.toString()
  })
  const code = await new Promise<number>((resolve) => {
    child.once('error', () => resolve(1))
    child.once('close', (exitCode) => resolve(exitCode ?? 1))
  })
  process.removeListener('SIGINT', stop).removeListener('SIGTERM', stop)
  lines.push(...text.trimEnd().split('\n'))
  const summary = lines.at(-1) ?? ''
  if (summary.startsWith('{')) {
    const { rows, met, missed } = JSON.parse(summary) as Record<string, number>
    totals.rows += rows ?? 0
    totals.met += met ?? 0
    totals.missed += missed ?? 0
  }
  return code
}
