import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError, type DestinationConfig, readGatewayConfig } from '../../src/config/index.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gateway-destinations-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function destinations(
  text: string,
  argv: string[] = [],
  env: Record<string, string> = {},
): readonly DestinationConfig[] {
  const file = join(folder, 'destinations.yaml')
  writeFileSync(file, text)
  return read(['-destinations', file, ...argv], env)
}

function read(argv: string[], env: Record<string, string> = {}): readonly DestinationConfig[] {
  const command = readGatewayConfig(['-token', 'x', ...argv], env)
  if (command.kind !== 'run') throw new Error(command.kind)
  return command.config.destinations
}

function failure(work: () => unknown): ConfigError {
  try {
    work()
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('no error')
}

const TWO = `
destinations:
  - name: bots
    kind: redis-list
    address: redis://bob:hunter2@queue.example:6380/2
    prefix: "bots:"
    payload: envelope
    encoding: json
    events: [message_create, TYPING_START]
    queue-events-max: 5000
    queue-bytes-max: 2097152
    queue-age-max: 600
    when-full: drop-oldest
    required: true
  - name: watchers
    kind: grpc-subscribe
`

describe('-destinations', () => {
  test('each has its own address, form, filter, limits and duty', () => {
    const [bots, watchers] = destinations(TWO, ['-queue-events-max', '2000'], {
      WHITELIST_EVENTS: 'GUILD_CREATE',
    })
    expect(bots!.address?.reveal()).toBe('redis://bob:hunter2@queue.example:6380/2')
    expect(bots).toMatchObject({
      name: 'bots',
      kind: 'redis-list',
      prefix: 'bots:',
      payload: 'envelope',
      encoding: 'json',
      events: new Set(['MESSAGE_CREATE', 'TYPING_START']),
      queueEventsMax: 5000,
      queueBytesMax: 2_097_152,
      queueAgeMaxSeconds: 600,
      whenFull: 'drop-oldest',
      isRequired: true,
    })
    expect(watchers).toMatchObject({
      name: 'watchers',
      kind: 'grpc-subscribe',
      address: null,
      events: new Set(['GUILD_CREATE']),
      queueEventsMax: 2000,
      queueAgeMaxSeconds: 86_400,
      whenFull: 'spill',
      isRequired: false,
    })
  })

  test('marks are kept where -redis-marks or the file says so', () => {
    const marks = (found: readonly DestinationConfig[]): boolean[] =>
      found.map(({ hasMarks }) => hasMarks)
    expect(marks(read(['-redis', 'a']))).toEqual([false])
    expect(marks(read(['-redis', 'a', '-redis-marks']))).toEqual([true])
    const item = (rest: string): string =>
      `destinations:\n  - {name: a, kind: redis-list, address: a${rest}}\n`
    expect(marks(destinations(item(', redis-marks: true')))).toEqual([true])
    expect(marks(destinations(item(''), ['-redis-marks']))).toEqual([true])
    expect(marks(destinations(item(', redis-marks: false'), ['-redis-marks']))).toEqual([false])
    const stream =
      'destinations:\n  - {name: a, kind: redis-stream, address: a, redis-marks: true}\n'
    expect(failure(() => destinations(stream)).code).toBe('CONFIG_UNKNOWN_KEY')
  })

  test('-stdout is a way of its own, for one process', () => {
    expect(read(['-stdout'])).toMatchObject([
      { name: 'stdout', kind: 'stdout', payload: 'envelope', isRequired: true },
    ])
    expect(read(['-stdout', '-payload', 'd'])[0]!.payload).toBe('d')
    expect(read(['-stdout=false'])[0]!.kind).toBe('grpc-subscribe')
    const [out] = destinations('destinations: [{name: out, kind: stdout}]', ['-payload', 'd'])
    expect(out!.payload).toBe('envelope')
    expect(failure(() => read(['-stdout', '-redis', 'q'])).message).toMatch(
      /-stdout and -redis both say/,
    )
    const workers = ['-workers=2', '-psql=postgres://u@h/d', '-etcd=h:2379', '-stdout']
    expect(failure(() => read(workers)).code).toBe('CONFIG_STDOUT_WORKERS')
  })

  test('a filter is a list of rules; ids keep their last digits', () => {
    const head = 'destinations: [{name: g, kind: grpc-subscribe, filter: '
    const [made] = destinations(`
destinations:
  - name: g
    kind: grpc-subscribe
    filter:
      - name: commands
        events: [message_create]
        author-bot: false
        content-prefix: "!"
        channels: [290926798626357999, "290926798626358000"]
      - {shards: [0, 1], guilds: [81384788765712384], classes: [available], types: [0], content-prefix: [a, b]}
`)
    expect(made!.rules).toEqual([
      {
        name: 'commands',
        events: new Set(['MESSAGE_CREATE']),
        isAuthorBot: false,
        contentPrefixes: ['!'],
        channelIds: new Set([290926798626357999n, 290926798626358000n]),
      },
      {
        name: '2',
        shards: new Set([0, 1]),
        guildIds: new Set([81384788765712384n]),
        classes: new Set(['available']),
        types: new Set([0]),
        contentPrefixes: ['a', 'b'],
      },
    ])
    const message = (rules: string): string =>
      failure(() => destinations(`${head}${rules}}]`)).message
    expect(message('[{chanels: [1]}]')).toMatch(/:1:58: "chanels".*did you mean channels/)
    expect(message('[{events: [MESSAGE_CRATE]}]')).toMatch(/did you mean MESSAGE_CREATE/)
    expect(message('[{classes: [join]}]')).toMatch(/expected one of joined, .* for `classes`/)
    expect(message('[{channels: [abc]}]')).toMatch(/expected ids of Discord's for `channels`/)
    expect(message('[{guilds: []}]')).toMatch(/1 to 250000 values for `guilds`/)
    expect(message('[{}]')).toMatch(/at least one of/)
    expect(message('[]')).toMatch(/1 to 32 rules/)
    expect(message('[{name: none, shards: [0]}]')).toMatch(/other than none/)
    expect(message('[{name: "2", shards: [0]}, {shards: [1]}]')).toMatch(/different names/)
  })

  test('consumers that are pushed to: addresses, method, spread, TLS by files beside the file', () => {
    writeFileSync(join(folder, 'ca.pem'), '-----BEGIN CERTIFICATE-----')
    writeFileSync(join(folder, 'own.key'), '-----BEGIN PRIVATE KEY-----')
    writeFileSync(join(folder, 'text'), 'hello')
    const head = 'destinations: [{name: g, kind: grpc-push, addresses: '
    const [plain] = destinations(`${head}["a:1"]}]`)
    expect(plain).toMatchObject({
      address: null,
      grpcPush: {
        addresses: ['a:1'],
        method: 'stream',
        spread: 'turn',
        tls: null,
        windowEvents: null,
        deadlineSeconds: 15,
      },
    })
    const [secure] = destinations(
      `${head}["a:1", "[::1]:2"], method: push, spread: guild, ca-file: ca.pem, cert-file: ca.pem, key-file: own.key, server-name: x}]`,
    )
    expect(secure!.grpcPush).toMatchObject({
      addresses: ['a:1', '[::1]:2'],
      method: 'push',
      spread: 'guild',
      tls: { ca: '-----BEGIN CERTIFICATE-----', serverName: 'x' },
    })
    expect(secure!.grpcPush!.tls!.key!.reveal()).toBe('-----BEGIN PRIVATE KEY-----')
    expect(destinations(`${head}["a:1"], tls: true}]`)[0]!.grpcPush!.tls).toEqual({
      ca: null,
      cert: null,
      key: null,
      serverName: null,
    })
    const message = (rest: string): string =>
      failure(() => destinations(`${head}${rest}}]`)).message
    expect(message('[a]')).toMatch(/`addresses` as host:port/)
    expect(message('[]')).toMatch(/1 to 64 `addresses`/)
    expect(message('["a:1", "a:1"]')).toMatch(/that differ/)
    expect(message('["a:1"], ca-file: none.pem')).toMatch(/a file that can be read/)
    expect(message('["a:1"], ca-file: text')).toMatch(/a file in PEM/)
    expect(message('["a:1"], cert-file: ca.pem')).toMatch(/both of `cert-file` and `key-file`/)
    expect(message('["a:1"], tls: false, ca-file: ca.pem')).toMatch(/no certificates/)
    expect(message('["a:1"], adresses: ["b:1"]')).toMatch(/did you mean addresses/)
  })

  test('the same master by its sentinels is the same place, in whatever order they stand', () => {
    const item = (name: string, address: string): string =>
      `{name: ${name}, kind: redis-list, address: "${address}"}`
    const one = item('a', 'redis+sentinel://u:hunter2@s1:1,s2:2/main')
    const two = item('b', 'redis+sentinel://s2:2,s1:1/main/0')
    const error = failure(() => destinations(`destinations: [${one}, ${two}]`))
    expect(error.code).toBe('CONFIG_DUPLICATE_DESTINATION')
    expect(error.message).not.toContain('hunter2')
  })

  test('a stream has a prefix, a split and a trim of its own', () => {
    const head = 'destinations: [{name: s, kind: redis-stream, address: q'
    const [plain] = destinations(`${head}}]`, ['-redis-prefix', 'lists:'])
    expect(plain).toMatchObject({
      kind: 'redis-stream',
      prefix: 'gateway:stream:',
      isRequired: true,
      stream: { split: 'none', entriesMax: 1_000_000, ageSecondsMax: null },
    })
    const [guilds] = destinations(
      `${head}, split: guild, partitions: 8, trim-age-seconds: 3600, prefix: "g:"}]`,
    )
    expect(guilds).toMatchObject({
      prefix: 'g:',
      stream: { split: 'guild', partitions: 8, entriesMax: null, ageSecondsMax: 3600 },
    })
    const [kept] = destinations(`${head}, split: event, trim-entries: 0}]`)
    expect(kept!.stream).toMatchObject({ split: 'event', entriesMax: null, ageSecondsMax: null })
    const message = (rest: string): string =>
      failure(() => destinations(`${head}${rest}}]`)).message
    expect(message(', partitions: 8')).toMatch(/:1:70: .*only with `split: guild`/)
    expect(message(', split: guilds')).toMatch(/did you mean guild/)
    expect(message(', trim-entries: 5, trim-age-seconds: 5')).toMatch(/only one of/)
    expect(message(', payload: d')).toMatch(/"payload" is not a key here/)
    expect(message(', split: guild, partitions: 0')).toMatch(/from 1 to 1024 for `partitions`/)
  })

  test('JSON is read as well; the only destination is required unless it says otherwise', () => {
    const one = { name: 'a', kind: 'redis-list', address: 'localhost' }
    const json = (value: object): string => JSON.stringify({ destinations: [value] }, null, 2)
    expect(destinations(json(one))).toMatchObject([{ isRequired: true, payload: 'd' }])
    expect(destinations(json({ ...one, required: false }))).toMatchObject([{ isRequired: false }])
  })

  test.each([
    ['payloda: d', 'CONFIG_UNKNOWN_KEY', ':6:5: "payloda" is not a key here; did you mean payload'],
    ['events: [TYPING_STRAT]', 'CONFIG_UNKNOWN_EVENT', ':6:14: "TYPING_STRAT"'],
    ['events: [TYPING_STRAT]', 'CONFIG_UNKNOWN_EVENT', 'did you mean TYPING_START'],
    ['events: TYPING_START', 'CONFIG_DESTINATIONS_FILE', ':6:13: expected a list'],
    ['encoding: jsno', 'CONFIG_DESTINATIONS_FILE', ':6:15: expected one of etf, json, etf-bare'],
    ['encoding: jsno', 'CONFIG_DESTINATIONS_FILE', 'did you mean json'],
    ['when-full: drop-old', 'CONFIG_DESTINATIONS_FILE', 'did you mean drop-oldest'],
    ['queue-events-max: 7', 'CONFIG_DESTINATIONS_FILE', 'a whole number from 1000 to 10000000'],
    ['required: 1', 'CONFIG_DESTINATIONS_FILE', 'true or false'],
    ['payload:', 'CONFIG_DESTINATIONS_FILE', '`payload`'],
    [
      'name: b',
      'CONFIG_DESTINATIONS_FILE',
      ':6:5: the text is neither YAML nor JSON (DUPLICATE_KEY)',
    ],
    ['payload: *other', 'CONFIG_DESTINATIONS_FILE', 'expected one of d, envelope'],
    ['  payload: "d', 'CONFIG_DESTINATIONS_FILE', 'neither YAML nor JSON'],
  ])('%s: %s with line and column', (line, code, part) => {
    const error = failure(() =>
      destinations(
        `destinations:\n  - name: a\n    kind: redis-list\n    # of the bots\n    address: redis://bob:hunter2@h\n    ${line}\n`,
      ),
    )
    expect(error.code).toBe(code)
    expect(error.message).toContain(part)
    expect(error.message).not.toContain('hunter2')
  })

  test.each([
    ['', 'expected a map'],
    ['destinations: 7', 'expected a list'],
    ['destinations: []', 'expected 1 to 64'],
    ['destinations: [7]', ':1:16: expected a map for each destination'],
    ['destinations: [{kind: redis-list, address: h}]', '`name`'],
    ['destinations: [{name: cache, kind: grpc-subscribe}]', 'other than cache'],
    ['destinations: [{name: a b, kind: grpc-subscribe}]', 'letters, digits'],
    ['destinations: [{name: a, kind: redis-lsit}]', 'did you mean redis-list'],
    ['destinations: [{name: a, kind: redis-list}]', '`address`'],
    ['destinations: [{name: a, kind: redis-list, address: "http://h"}]', '`address`'],
    ['destinations: [{name: a, kind: grpc-subscribe, address: h}]', '"address" is not a key here'],
    ['destination: []', 'did you mean destinations'],
  ])('%j is refused', (text, part) => {
    expect(failure(() => destinations(text)).message).toContain(part)
  })

  test.each([
    ['{name: a, kind: redis-list, address: h2}', 'has the same name as'],
    ['{name: b, kind: redis-list, address: "redis://u:hunter2@h:6379/0"}', 'the same place as'],
  ])('the same destination twice is refused: %s', (second, part) => {
    const text = `destinations:\n  - {name: a, kind: redis-list, address: h}\n  - ${second}\n`
    const error = failure(() => destinations(text))
    expect(error.code).toBe('CONFIG_DUPLICATE_DESTINATION')
    expect(error.message).toContain(':3:5')
    expect(error.message).toContain(part)
    expect(error.message).not.toContain('hunter2')
  })

  test('other prefixes or databases of one server are other destinations', () => {
    const line = (name: string, rest: string): string =>
      `  - {name: ${name}, kind: redis-list, address: ${rest}}\n`
    const text = `destinations:\n${line('a', 'h')}${line('b', 'h, prefix: "b:"')}${line('c', '"h:6379/1"')}`
    expect(destinations(text).map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  test('a file that is not there is said', () => {
    const error = failure(() => read(['-destinations', join(folder, 'nowhere.yaml')]))
    expect(error.code).toBe('CONFIG_DESTINATIONS_FILE')
    expect(error.message).toContain('nowhere.yaml')
  })

  test('is not given beside -redis or MULTI_REDIS', () => {
    expect(failure(() => destinations(TWO, ['-redis', 'h'])).code).toBe('CONFIG_DESTINATIONS_TWICE')
    const env = { MULTI_REDIS: '{"h:1":[]}' }
    expect(failure(() => destinations(TWO, [], env)).code).toBe('CONFIG_DESTINATIONS_TWICE')
  })
})

describe('MULTI_REDIS', () => {
  test('has a whitelist per address, or the global one; none is required', () => {
    const found = read(['-redis', 'localhost:6379', '-encoding', 'json'], {
      MULTI_REDIS: '{"a:1":["message_create "],"redis://u:hunter2@b/3":[]}',
      WHITELIST_EVENTS: 'TYPING_START',
    })
    expect(found).toMatchObject([
      { name: 'a:1', events: new Set(['MESSAGE_CREATE']), isRequired: false, encoding: 'json' },
      { name: 'b:6379/3', events: new Set(['TYPING_START']), isRequired: false },
    ])
    expect(found[1]!.address?.reveal()).toBe('redis://u:hunter2@b/3')
  })

  test.each([
    ['{"redis://u:hunter2@a":', 'it is not JSON'],
    ['[]', 'it is not an object'],
    ['{}', 'it names no address'],
    ['{"http://u:hunter2@a":[]}', 'address 1 cannot be read'],
    ['{"redis://u:hunter2@a":"X"}', 'a:6379 needs an array'],
  ])('%s is refused without showing an address', (text, part) => {
    const error = failure(() => read([], { MULTI_REDIS: text }))
    expect(error.code).toBe('CONFIG_MULTI_REDIS')
    expect(error.message).toContain(part)
    expect(error.message).not.toContain('hunter2')
  })

  test('the same server twice is refused', () => {
    const error = failure(() => read([], { MULTI_REDIS: '{"a":[],"redis://a:6379":[]}' }))
    expect(error.code).toBe('CONFIG_DUPLICATE_DESTINATION')
  })
})
