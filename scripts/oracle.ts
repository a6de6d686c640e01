import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findOnPath } from '../tests/support/binaries.ts'
import { runCommand } from './command.ts'

/**
 * erlpack, an ETF codec in C++ that others wrote: the codec's tests compare with it. It has a
 * package.json of its own because its install script compiles, for whatever Node it meets; here it is
 * compiled for the Node that runs the tests, against the headers that come with the npm package `node`.
 */

const projectDir = fileURLToPath(new URL('..', import.meta.url))
const oracleDir = join(projectDir, 'tests/oracle')
const erlpackDir = join(oracleDir, 'node_modules/erlpack')
const stampFile = join(erlpackDir, 'build/built-for')

/** Whether it is there, compiled for the Node that runs this. */
export function isOracleBuilt(): boolean {
  return (
    existsSync(join(erlpackDir, 'build/Release/erlpack.node')) &&
    existsSync(stampFile) &&
    readFileSync(stampFile, 'utf8') === stamp()
  )
}

/** Installs and compiles it. Needs python3, make and g++. */
export async function buildOracle(): Promise<void> {
  const npm = npmProgram()
  await must(npm.command, [...npm.args, 'ci', '--prefix', oracleDir, '--ignore-scripts'], oracleDir)
  // node-gyp takes npm's settings from the environment, and before its own arguments.
  const env = { ...process.env, npm_config_nodedir: headersDir() }
  await must(process.execPath, [nodeGypProgram(), 'rebuild'], erlpackDir, env)
  await must(process.execPath, ['--eval', `require(${JSON.stringify(erlpackDir)})`], oracleDir)
  writeFileSync(stampFile, stamp())
}

/** Node's version and the lockfile: another of either compiles anew. */
function stamp(): string {
  const lock = readFileSync(join(oracleDir, 'package-lock.json'), 'utf8')
  return `${process.version} ${process.platform} ${process.arch}\n${lock}`
}

async function must(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const result = await runCommand(command, args, { cwd, env })
  if (result.code !== 0) throw new Error(`${result.line} failed:\n${result.output.trim()}`)
}

/** npm names itself to the scripts that it runs; else the one on the PATH. */
function npmProgram(): { command: string; args: readonly string[] } {
  const { npm_execpath: cli, npm_node_execpath: node } = process.env
  if (cli !== undefined && node !== undefined) return { command: node, args: [cli] }
  return { command: 'npm', args: [] }
}

/** npm brings node-gyp along, and names it to the scripts that it runs. */
function nodeGypProgram(): string {
  const named = process.env['npm_config_node_gyp']
  if (named !== undefined && existsSync(named)) return named
  const npm = findOnPath('npm')
  if (npm !== null) {
    // …/npm/bin/npm-cli.js → …/npm/node_modules/node-gyp
    const path = join(dirname(realpathSync(npm)), '../node_modules/node-gyp/bin/node-gyp.js')
    if (existsSync(path)) return path
  }
  throw new Error('node-gyp is not found: run "npm test" with the npm that comes with Node.')
}

/** The folder whose `include/node` holds the headers of the Node that runs this. */
function headersDir(): string {
  const packaged = join(
    projectDir,
    `node_modules/node/node_modules/node-${process.platform}-${process.arch}`,
  )
  const besideBinary = join(dirname(realpathSync(process.execPath)), '..')
  for (const dir of [packaged, besideBinary]) {
    if (headersVersion(dir) === process.version) return dir
  }
  throw new Error(
    `The headers of Node ${process.version} are not found: run "npm ci" again, then "npm test".`,
  )
}

function headersVersion(dir: string): string | null {
  const file = join(dir, 'include/node/node_version.h')
  if (!existsSync(file)) return null
  const text = readFileSync(file, 'utf8')
  const part = (name: string): string =>
    new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1] ?? '?'
  return `v${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`
}
