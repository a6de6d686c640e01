import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  ConfigError,
  GATEWAY_OPTIONS,
  GATEWAYCTL_OPTIONS,
  type GatewayConfig,
  readGatewayConfig,
  renderHelp,
} from '../../src/config/index.ts'

function config(argv: string[], env: Record<string, string> = {}): GatewayConfig {
  const command = readGatewayConfig(argv, env)
  if (command.kind !== 'run') throw new Error(command.kind)
  return command.config
}

function failure(argv: string[], env: Record<string, string> = {}): ConfigError {
  try {
    readGatewayConfig(argv, env)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('no error')
}

test('one or two dashes, a space or an equals sign', () => {
  for (const argv of [
    ['-token', 'x', '-shards', '4'],
    ['--token=x', '--shards=4'],
    ['-token=x', '--shards', '4'],
  ]) {
    const { token, shardCount } = config(argv)
    expect([token.reveal(), shardCount]).toEqual(['x', 4])
  }
})

test('the prefix Bot may be there or not', () => {
  expect(config(['-token', 'Bot x']).token.reveal()).toBe('x')
})

test('the flag wins over GATEWAY_<FLAG>, that over the bare variable, that over the default', () => {
  const env = { DISCORD_TOKEN: 'bare', GATEWAY_TOKEN: 'prefixed', GATEWAY_NAME: 'fleet' }
  expect(config(['-token', 'flag'], env).token.reveal()).toBe('flag')
  expect(config([], env).token.reveal()).toBe('prefixed')
  expect(config([], { DISCORD_TOKEN: 'bare' }).token.reveal()).toBe('bare')
  expect(config([], env).name).toBe('fleet')
  expect(config(['-token', 'x']).name).toBe('gateway')
})

test("the container's bare names are not read by the program", () => {
  expect(config(['-token', 'x'], { NAME: 'other', ADDR: ':80' }).name).toBe('gateway')
})

test('an empty value means not given', () => {
  const { destinations, psql } = config(['-token', 'x', '--redis=', '-psql', ''])
  expect([destinations[0]!.address, psql]).toEqual([null, null])
})

test('without Postgres there is no Redis unless asked; with it localhost as in the ancestor', () => {
  const redis = (...argv: string[]): string | undefined => {
    const [only] = config(['-token', 'x', ...argv]).destinations
    expect(only).toMatchObject({
      isRequired: true,
      name: only!.address === null ? 'grpc' : 'redis',
    })
    return only!.address?.reveal()
  }
  expect(redis()).toBeUndefined()
  expect(redis('-psql', 'postgres://h/d')).toBe('localhost:6379')
  expect(config(['-token', 'x', '-psqlAddr', 'postgres://h/d']).psql?.reveal()).toBe(
    'postgres://h/d',
  )
  expect(redis('-psql', 'postgres://h/d', '-redis', 'none')).toBeUndefined()
  expect(redis('-redis', 'r:1')).toBe('r:1')
})

test('a token file is read, and a missing one is named', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-config-'))
  try {
    const file = join(folder, 'token')
    writeFileSync(file, 'Bot abc\n')
    expect(config(['-token-file', file]).token.reveal()).toBe('abc')
    const error = failure(['-token-file', join(folder, 'missing')])
    expect(error.code).toBe('CONFIG_TOKEN_FILE')
    expect(error.message).toContain('missing')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('no token is said with the cure', () => {
  const error = failure([])
  expect(error.code).toBe('CONFIG_NO_TOKEN')
  expect(error.message).toContain('-token-file')
})

test('an unknown flag names the nearest one', () => {
  const error = failure(['-tokn', 'x'])
  expect(error.code).toBe('CONFIG_UNKNOWN_FLAG')
  expect(error.message).toContain('did you mean -token')
  expect(failure(['token']).code).toBe('CONFIG_UNKNOWN_FLAG')
})

test('a flag without its value is named', () => {
  expect(failure(['-token', 'x', '-shards']).code).toBe('CONFIG_MISSING_VALUE')
  expect(failure(['-token', '-shards', '4']).code).toBe('CONFIG_MISSING_VALUE')
})

test('values are checked, with the choice that was meant', () => {
  for (const [argv, part] of [
    [['-shards', 'four'], 'a whole number'],
    [['-shards', '0'], 'from 1'],
    [['-shards', '4', '-stop', '5'], 'within -shards 4'],
    [['-start', '3', '-stop', '3'], 'above -start 3'],
    [['-encoding', 'jsn'], 'did you mean json'],
    [['-intents', 'GUILD_MEMBER'], 'did you mean GUILD_MEMBERS'],
    [['-cache', 'guilds,chanels'], 'did you mean channels'],
    [['-discord-api', 'discord.com'], 'a URL'],
    [['-psql', 'host:5432'], 'postgres://'],
    [['-psql', 'postgres://u:p@ss@host:bad/d'], 'postgres://'],
  ] as const) {
    const error = failure(['-token', 'x', ...argv])
    expect(error.code).toBe('CONFIG_BAD_VALUE')
    expect(error.message).toContain(part)
  }
})

test('a secret is not repeated in the error', () => {
  expect(failure(['-token', 'x', '-psql', 'bob:hunter2@host']).message).not.toContain('hunter2')
})

test('etcd is refused without Postgres, and where it names no endpoints', () => {
  const etcd = ['-token', 'x', '-etcd', 'localhost:2379,http://bot:pass@host:2379']
  expect(failure(etcd).code).toBe('CONFIG_ETCD_WITHOUT_PSQL')
  const psql = ['-psql', 'postgres://localhost/bot']
  expect(config([...etcd, ...psql]).etcd?.reveal()).toContain('host:2379')
  const bad = failure(['-token', 'x', '-etcd', 'http://bot:pass@:', ...psql])
  expect(bad.code).toBe('CONFIG_BAD_VALUE')
  expect(bad.message).not.toContain('pass@')
})

test('several workers are refused without what they need', () => {
  const argv = ['-token', 'x', '-workers', '2']
  expect(failure(argv).code).toBe('CONFIG_WORKERS_EMBEDDED')
  const withPsql = [...argv, '-psql', 'postgres://h/d']
  expect(failure(withPsql).code).toBe('CONFIG_WORKERS_WITHOUT_ETCD')
  expect(config(['-token', 'x']).workers).toBe(1)
})

test('-cache is everything, nothing, or kinds, to which guilds belong', () => {
  const kinds = (...argv: string[]): readonly string[] =>
    config(['-token', 'x', ...argv]).cacheKinds
  expect(kinds()).toContain('voice_states')
  expect(kinds('-cache', 'default')).toEqual(kinds())
  expect(kinds('-cache', 'none')).toEqual([])
  expect(kinds('-cache', 'Roles, channels')).toEqual(['guilds', 'channels', 'roles'])
})

test('intents are a preset, names or a number', () => {
  const intents = (value: string): number => config(['-token', 'x', '-intents', value]).intents
  expect(intents('all')).toBe(0xffff)
  expect(intents('GUILDS, guild_members')).toBe(3)
  expect(intents('513')).toBe(513)
})

test('the whitelist is a set of names, unset means every event', () => {
  const env = { WHITELIST_EVENTS: ' MESSAGE_CREATE, message_delete,,NOT_YET_KNOWN' }
  const events = (given: Record<string, string>): ReadonlySet<string> | null =>
    config(['-token', 'x'], given).destinations[0]!.events
  expect([...(events(env) ?? [])]).toEqual(['MESSAGE_CREATE', 'MESSAGE_DELETE', 'NOT_YET_KNOWN'])
  expect(events({})).toBeNull()
  expect(events({ WHITELIST_EVENTS: '' })).toBeNull()
})

test('-prod is a switch with an optional value', () => {
  expect(config(['-token', 'x', '-prod']).isProd).toBe(true)
  expect(config(['-prod', 'true', '-token', 'x']).isProd).toBe(true)
  expect(config(['-token', 'x', '-prod=']).isProd).toBe(false)
  expect(config(['-token', 'x', '-prod=false']).isProd).toBe(false)
  expect(config(['-token', 'x', '-prod', '-shards', '2']).shardCount).toBe(2)
})

test("Discord's address may carry a version and a slash at its end", () => {
  const api = (value: string): string => config(['-token', 'x', '-discord-api', value]).discordApi
  expect(api('http://127.0.0.1:1/api/v10/')).toBe('http://127.0.0.1:1/api')
  expect(api('http://127.0.0.1:1/api')).toBe('http://127.0.0.1:1/api')
})

test('help and version win over everything else', () => {
  expect(readGatewayConfig(['-help'], {}).kind).toBe('help')
  expect(readGatewayConfig(['-version', '-shards', 'x'], {}).kind).toBe('version')
  const help = renderHelp('gateway', 'holds shards', GATEWAY_OPTIONS)
  for (const { flag } of GATEWAY_OPTIONS) expect(help).toContain(`-${flag}`)
})

test('-when-full is for every destination; without it they spill', () => {
  const policy = (...argv: string[]): string =>
    config(['-token', 'x', ...argv]).destinations[0]!.whenFull
  expect(policy()).toBe('spill')
  expect(policy('-when-full', 'drop-oldest')).toBe('drop-oldest')
  const age = config(['-token', 'x', '-queue-age-max', '0']).destinations[0]!.queueAgeMaxSeconds
  expect(age).toBe(0)
})

test('-members is all, none or <=N, and needs the intent and rows to keep members in', () => {
  const token = ['-token', 'x', '-intents=all']
  expect(config(['-token', 'x', '-intents=fast']).membersMax).toBe(-1)
  expect(config([...token, '-members=<=500']).membersMax).toBe(500)
  expect(config([...token, '-members', 'all']).membersMax).toBe(Number.MAX_SAFE_INTEGER)
  expect(failure([...token, '-members=some']).code).toBe('CONFIG_BAD_VALUE')
  expect(failure(['-token', 'x', '-intents=fast', '-members=all']).code).toBe('CONFIG_MEMBERS')
  expect(failure([...token, '-cache=none', '-members=all']).code).toBe('CONFIG_MEMBERS')
})

test('what gatewayctl reads from the environment of a gateway means the same to both', () => {
  // It is run in the container of a worker: GATEWAY_SHARDS=720 is no filter.
  const ofGateway = new Set(GATEWAY_OPTIONS.map(({ flag }) => flag))
  const shared = GATEWAYCTL_OPTIONS.map(({ flag }) => flag).filter((flag) => ofGateway.has(flag))
  expect(shared).toEqual(['addr', 'admin-token'])
})
