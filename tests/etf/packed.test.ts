/** What a project gets that installs the package: `gateway/etf` with nothing else, `gateway/consumer` with its packages. */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { projectDir } from '../tidy/tree.ts'

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
const refused = await consume({ from, onEvent, concurrency: 0 }).catch((error: unknown) => error)
console.log(sources.length, refused instanceof ConsumerError && refused.code)
process.exit()
`
const BOT_WORDS = '2 CONSUMER_BAD_OPTION\n'

const folder = mkdtempSync(join(tmpdir(), 'gateway-packed-'))
const project = join(folder, 'project')
const consumer = join(folder, 'consumer')
const typeRoots = [join(projectDir, 'node_modules/@types')]
const tsc = join(projectDir, 'node_modules/.bin/tsc')

beforeAll(() => {
  const installed = join(consumer, 'node_modules/gateway')
  mkdirSync(project)
  mkdirSync(installed, { recursive: true })
  cpSync(join(projectDir, 'proto'), join(project, 'proto'), { recursive: true })
  copyFileSync(join(projectDir, 'package.json'), join(project, 'package.json'))
  write(project, 'tsconfig.json', {
    extends: join(projectDir, 'tsconfig.build.json'),
    compilerOptions: { rootDir: projectDir, outDir: join(project, 'dist'), typeRoots },
    include: [join(projectDir, 'src/etf'), join(projectDir, 'src/consumer')],
  })
  run(tsc, ['-p', project])
  run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], project)
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!
  run('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components', '1'])
  write(consumer, 'package.json', { name: 'consumer', type: 'module', private: true })
  writeFileSync(join(consumer, 'main.ts'), CONSUMER)
  writeFileSync(join(consumer, 'bot.ts'), BOT)
  const compiled = (main: string): object => ({
    compilerOptions: {
      module: 'nodenext',
      target: 'es2023',
      strict: true,
      noUncheckedIndexedAccess: true,
      typeRoots,
      types: ['node'],
    },
    files: [main],
  })
  write(consumer, 'tsconfig.json', compiled('main.ts'))
  write(consumer, 'tsconfig.bot.json', compiled('bot.ts'))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the package, packed and installed', () => {
  test('gives types and a codec that needs no other package', () => {
    run(tsc, ['-p', consumer])
    expect(run(process.execPath, ['main.js'], consumer)).toBe(WORDS)
  })

  test('gives consumers whose events have the types of discord-api-types', () => {
    for (const name of ['ioredis', '@grpc', 'discord-api-types']) {
      symlinkSync(join(projectDir, 'node_modules', name), join(consumer, 'node_modules', name))
    }
    run(tsc, ['-p', join(consumer, 'tsconfig.bot.json')])
    expect(run(process.execPath, ['bot.js'], consumer)).toBe(BOT_WORDS)
  })
})

function write(at: string, name: string, value: unknown): void {
  writeFileSync(join(at, name), JSON.stringify(value))
}

/** @throws with what the program said. */
function run(program: string, args: readonly string[], cwd: string = folder): string {
  try {
    return execFileSync(program, [...args], { cwd, encoding: 'utf8' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')}:\n${stdout}${stderr}`, { cause: error })
  }
}
