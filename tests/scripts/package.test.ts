/** The package as `npm pack` makes it, unpacked elsewhere: its programs, its exports, and what is in it. */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { projectDir, projectFiles } from '../tidy/tree.ts'

const manifest = JSON.parse(readFileSync(join(projectDir, 'package.json'), 'utf8')) as {
  bin: Record<string, string>
  exports: Record<string, Record<string, string>>
}
const { bin } = manifest
const sources = projectFiles.filter((path) => /^(cmd\/[^/]+|sim)\/main\.ts$/.test(path))
const AN_OLD_VERSION = '20.20.2'

/** Loaded before the program: it then believes that it runs on that version. */
const PRETEND_OLD = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${AN_OLD_VERSION}'}})`

const CONSUMER = `
import { decodeTerm, encodeTerm, FieldReader, NEED_MORE, snowflakeTextAt } from 'gateway/etf'
import type { DecodeOptions } from 'gateway/etf'
const options: DecodeOptions = { bigints: 'string' }
const bytes: Uint8Array = encodeTerm({ id: 175928847299117063n, tags: [1, 'é', null] })
const reader = new FieldReader(['id'])
if (reader.read(bytes, 1, bytes.length) === NEED_MORE) throw new Error('cut')
const id: string | null = snowflakeTextAt(bytes, reader.starts[0]!, reader.ends[0]!)
console.log(JSON.stringify([id, decodeTerm(bytes, options)]))
// @ts-expect-error: the types are those of the codec and not any
decodeTerm(bytes, { bigints: 'float' })
`
const WORDS = '["175928847299117063",{"id":"175928847299117063","tags":[1,"é",null]}]\n'

const BOT = `
import { consume, ConsumerError, grpcSubscription, redisList, redisStream } from 'gateway/consumer'
import type { ConsumedEvent, Consumer } from 'gateway/consumer'
import { DiscordjsGateway } from 'gateway/discordjs'
import { Client } from '@discordjs/core'
import { REST } from '@discordjs/rest'
async function onEvent(event: ConsumedEvent): Promise<void> {
  if (event.t === 'MESSAGE_CREATE') console.log(event.d.author.username, event.sessionId)
  // @ts-expect-error: a message has no such field
  if (event.t === 'MESSAGE_CREATE') console.log(event.d.verification_level)
}
const redis = '127.0.0.1:1'
const sources = [redisList({ redis, events: ['MESSAGE_CREATE'] }), redisStream({ redis, group: 'bot' })]
// Reads its proto file: without it this is no ConsumerError.
const from = grpcSubscription({ address: redis, name: 'bot', events: ['MESSAGE_CREATE'] })
const consuming: Promise<Consumer> = consume({ from, onEvent })
consuming.catch((error: unknown) => console.log('failed', error))
const client = new Client({ rest: new REST(), gateway: new DiscordjsGateway({ from }) })
const refused = await consume({ from, onEvent, concurrency: 0 }).catch((error: unknown) => error)
console.log(sources.length, client.gateway instanceof DiscordjsGateway, refused instanceof ConsumerError && refused.code)
process.exit()
`
const BOT_WORDS = '2 true CONSUMER_BAD_OPTION\n'

const folder = mkdtempSync(join(tmpdir(), 'gateway-package-'))
/** A project with nothing beside the package, and one with what npm installs beside it. */
const bare = join(folder, 'bare')
const whole = join(folder, 'whole')
const installed = join(whole, 'node_modules/gateway')
const tsc = join(projectDir, 'node_modules/.bin/tsc')
const typeRoots = [join(projectDir, 'node_modules/@types')]
/** Folders that programs read beside dist/. */
const READ_AT_RUN = ['dashboard', 'migrations', 'proto']
let build: Ended
let tarball: string

beforeAll(() => {
  const stage = join(folder, 'stage')
  for (const name of ['docs', ...READ_AT_RUN]) {
    cpSync(join(projectDir, name), join(stage, name), { recursive: true })
  }
  for (const name of ['LICENSE', 'README.md', 'package.json']) {
    copyFileSync(join(projectDir, name), join(stage, name))
  }
  // What an earlier build has left, and what a clone has beside it.
  mkdirSync(join(stage, 'src'))
  writeFileSync(join(stage, 'src/left.ts'), '')
  const project = ['-p', join(projectDir, 'tsconfig.build.json')]
  build = run(tsc, [...project, '--outDir', join(stage, 'dist')])
  mustRun('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], stage)
  tarball = join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!)
  for (const place of [bare, whole]) {
    mkdirSync(join(place, 'node_modules/gateway'), { recursive: true })
    const into = join(place, 'node_modules/gateway')
    mustRun('tar', ['-xzf', tarball, '-C', into, '--strip-components', '1'])
    write(place, 'package.json', JSON.stringify({ type: 'module', private: true }))
  }
  for (const name of readdirSync(join(projectDir, 'node_modules'))) {
    if (name.startsWith('.')) continue
    symlinkSync(join(projectDir, 'node_modules', name), join(whole, 'node_modules', name))
  }
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(place: string, name: string, text: string): void {
  writeFileSync(join(place, name), text)
}

/** What the program printed; throws when it failed. */
function mustRun(program: string, args: readonly string[], cwd = folder): string {
  const { status, stdout, stderr } = spawnSync(program, [...args], { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}:\n${stdout}${stderr}`)
  return stdout
}

/** Compiles one file of a project as its owner would, and runs it. */
function compileAndRun(place: string, name: string, text: string): string {
  write(place, `${name}.ts`, text)
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    strict: true,
    noUncheckedIndexedAccess: true,
    typeRoots,
    types: ['node'],
  }
  write(place, 'tsconfig.json', JSON.stringify({ compilerOptions, files: [`${name}.ts`] }))
  mustRun(tsc, ['-p', place])
  return mustRun(process.execPath, [`${name}.js`], place)
}

interface Ended {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

function run(program: string, args: readonly string[]): Ended {
  const { status, stdout, stderr } = spawnSync(program, [...args], {
    encoding: 'utf8',
    timeout: 15_000,
    // Neither a token nor a setting of whoever runs the tests.
    env: { PATH: process.env['PATH'] ?? '' },
  })
  return { status, output: stdout, errors: stderr }
}

/** A Node of the system that is too old for the programs, where there is one. */
function oldNode(): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node')
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    if (status === 0 && Number(/^v(\d+)/.exec(stdout)?.[1]) < 22) return path
  }
  return null
}

function expectRefusal(ended: Ended): void {
  expect(ended.status).toBe(1)
  expect(ended.output).toBe('')
  const [line, ...more] = ended.errors.trimEnd().split('\n')
  expect(line).toMatch(/needs Node\.js 22\.19 or later, this is \d+\.\d+\.\d+: install Node\.js 24/)
  expect(more).toEqual([])
}

/** Every file of the package. */
function packed(): string[] {
  return mustRun('tar', ['-tzf', tarball])
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''))
}

describe('the package', () => {
  test('holds what the programs need and what is imported, its types, maps and manual, and nothing else', () => {
    const files = packed()
    const wanted =
      /^(package\.json|LICENSE|README\.md|docs\/[\w.-]+\.md|dashboard\/dashboard\.(css|js)|dashboard\/index\.html|migrations\/\d{4}_\w+\.sql|proto\/\w+\.proto|dist\/(cmd|sim|src)\/.*\.(js|js\.map|d\.ts))$/
    expect(files.filter((path) => !wanted.test(path) || path.startsWith('dist/cmd/demo'))).toEqual(
      [],
    )
    const present = new Set(files)
    for (const path of files.filter((file) => /^dist.*\.js$/.test(file))) {
      expect(present, path).toContain(`${path}.map`)
      expect(present, path).toContain(path.replace(/\.js$/, '.d.ts'))
    }
    for (const folder of READ_AT_RUN) {
      for (const name of readdirSync(join(projectDir, folder))) {
        expect(present).toContain(`${folder}/${name}`)
      }
    }
    for (const { types, default: code } of Object.values(manifest.exports)) {
      for (const target of [types!, code!]) expect(existsSync(join(installed, target))).toBe(true)
    }
  })

  test('has maps with the sources in them', () => {
    const map = JSON.parse(readFileSync(join(installed, 'dist/src/etf/decode.js.map'), 'utf8')) as {
      readonly sourcesContent?: readonly string[]
    }
    expect(map.sourcesContent?.[0]).toContain('export function decodeTerm(')
  })

  test('is about as large as docs/operating.md says', () => {
    const [, said] = /package is ([\d.]+) MB/.exec(
      readFileSync(join(projectDir, 'docs/operating.md'), 'utf8'),
    )!
    const megabytes = statSync(tarball).size / 1e6
    expect(Math.abs(megabytes - Number(said))).toBeLessThan(0.35)
  })

  test('gives types and a codec that needs no other package', () => {
    expect(compileAndRun(bare, 'codec', CONSUMER)).toBe(WORDS)
  })

  test('gives consumers whose events have the types of discord-api-types', () => {
    expect(compileAndRun(whole, 'bot', BOT)).toBe(BOT_WORDS)
  })
})

describe('installed programs', () => {
  test('are built without an error', () => {
    expect(build).toEqual({ status: 0, output: '', errors: '' })
  })

  test.each(Object.entries(bin))('%s -help exits 0', (_name, file) => {
    const ended = run(process.execPath, [join(installed, file), '-help'])
    expect(ended).toMatchObject({ status: 0, errors: '' })
    expect(ended.output).toContain('-')
  })

  test.each(Object.entries(bin))('%s refuses an older Node in one sentence', (_name, file) => {
    expectRefusal(run(process.execPath, ['--import', PRETEND_OLD, join(installed, file)]))
    const old = oldNode()
    if (old !== null) expectRefusal(run(old, [join(installed, file)]))
  })

  test('each is made from a main.ts that is compiled and can be run by itself', () => {
    for (const file of Object.values(bin)) {
      expect(sources).toContain(file.replace('dist/', '').replace(/\.js$/, '.ts'))
      expect(readFileSync(join(installed, file), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    }
  })
})

describe('programs from source', () => {
  test.each(sources)('%s refuses an older Node before it imports the rest', (file) => {
    expectRefusal(run(process.execPath, ['--import', PRETEND_OLD, join(projectDir, file)]))
    const imported = readFileSync(join(projectDir, file), 'utf8').matchAll(/^import .*'(.*)'$/gm)
    expect([...imported].map(([, target]) => target)).toEqual([
      file.startsWith('sim/') ? '../src/base/index.ts' : '../../src/base/index.ts',
    ])
  })
})
