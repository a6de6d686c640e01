/** The configuration of `gateway`, checked and typed. */
import { readFileSync } from 'node:fs'
import { messageOf, Secret } from '../base/index.ts'
import { INTENTS, type StateKind } from '../discord/index.ts'
import { parseCacheKinds } from './cache-kinds.ts'
import type { DestinationConfig } from './destination-config.ts'
import { readDestinations } from './destinations.ts'
import { ConfigError } from './errors.ts'
import { GATEWAY_OPTIONS } from './gateway-options.ts'
import { parseIntents } from './intents.ts'
import { badValue, type Env, isOn, parseOptions } from './parse.ts'

export interface GatewayConfig {
  /** Without the prefix `Bot `. */
  readonly token: Secret
  /** Flags of secrets that stood on the command line. */
  readonly exposedFlags: readonly string[]
  /** Null: the embedded store in dataDir. */
  readonly psql: Secret | null
  readonly dataDir: string
  /** Kinds of state that are kept; none: only which guilds there are. */
  readonly cacheKinds: readonly StateKind[]
  /** At least one. */
  readonly destinations: readonly DestinationConfig[]
  /** Whether they stand in a file, which may be read again. */
  readonly isReloadable: boolean
  readonly name: string
  readonly podId: string
  /** Null: the fleet's stored count, else Discord's recommendation. */
  readonly shardCount: number | null
  readonly start: number
  /** Exclusive; null: the shard count. */
  readonly stop: number | null
  /** Processes; above 1 this one is their parent. */
  readonly workers: number
  readonly intents: number
  /** Null: no listener. */
  readonly grpcAddress: string | null
  /** Of the gRPC listener, as the other workers reach it; empty: what it listens on. */
  readonly advertise: string
  readonly httpAddress: string | null
  /** Null: whoever reaches the gRPC listener may change the fleet. */
  readonly adminToken: Secret | null
  /** Null: whoever reaches State may read. */
  readonly readToken: Secret | null
  /** Null: the writing routes are off. */
  readonly writeToken: Secret | null
  /** By -encoding, or for each destination by -destinations: nobody is surprised by the form of what is pushed. */
  readonly isEncodingGiven: boolean
  readonly hasShardMetrics: boolean
  /** Null: whoever reaches the gRPC listener may send commands; voice connections are served to nobody. */
  readonly backendToken: Secret | null
  /** Member lists of guilds with at most so many members are fetched; -1: only of those that come late. */
  readonly membersMax: number
  /** Where commands of backends are taken from; null: nowhere but from gRPC. */
  readonly commands: {
    readonly address: Secret
    readonly key: string
    readonly form: 'list' | 'stream'
  } | null
  readonly isProd: boolean
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  /** Without the version: `https://discord.com/api`. */
  readonly discordApi: string
  readonly compress: 'zlib-stream' | 'zstd-stream' | 'none'
  readonly upstream: 'etf' | 'json'
  /** Endpoints; null: one process, without etcd. */
  readonly etcd: Secret | null
  readonly etcdCaFile: string
  readonly leaseTtlSeconds: number
  /** Null: any number. */
  readonly shardsMax: number | null
  readonly rebalanceSettleSeconds: number
  readonly rebalancePercent: number
  readonly identifyReservePercent: number
  readonly identifyBreakerCount: number
}

export type GatewayCommand =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'check'; readonly config: GatewayConfig }
  | { readonly kind: 'run'; readonly config: GatewayConfig }

/** @throws ConfigError with a sentence for the operator; see docs/errors.md. */
export function readGatewayConfig(argv: readonly string[], env: Env): GatewayCommand {
  const { values, given, exposed, isHelp, isVersion } = parseOptions(GATEWAY_OPTIONS, argv, env)
  if (isHelp) return { kind: 'help' }
  if (isVersion) return { kind: 'version' }
  const text = (flag: string): string => values.get(flag) ?? ''
  const integer = (flag: string): number | null =>
    values.has(flag) ? Number(values.get(flag)) : null
  const address = (flag: string): string | null => (text(flag) === 'none' ? null : text(flag))
  const psql = text('psql') === '' ? null : new Secret(text('psql'))
  const isPsqlUrl = (url: string): boolean => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url)
  if (psql !== null && !isPsqlUrl(psql.reveal())) {
    throw badValue(
      { flag: 'psql', kind: 'secret' },
      '',
      'a URL as postgres://user@host:5432/database',
    )
  }
  const etcd = text('etcd') === 'none' ? null : new Secret(text('etcd'))
  if (etcd !== null && !etcd.reveal().split(',').every(isEndpoint)) {
    throw badValue(
      { flag: 'etcd', kind: 'secret' },
      '',
      'endpoints as http://host:2379, comma-separated',
    )
  }
  if (etcd !== null && psql === null) {
    throw new ConfigError(
      'CONFIG_ETCD_WITHOUT_PSQL',
      '-etcd needs -psql: workers that share shards keep their sessions in one Postgres. Give -psql, or leave -etcd away.',
      { flag: 'etcd' },
    )
  }
  const workers = integer('workers') ?? 1
  if (workers > 1 && psql === null) {
    throw new ConfigError(
      'CONFIG_WORKERS_EMBEDDED',
      `-workers ${workers}: the embedded store is for one process. Give -psql and -etcd, or leave -workers away.`,
      { workers },
    )
  }
  if (workers > 1 && text('etcd') === 'none') {
    throw new ConfigError(
      'CONFIG_WORKERS_WITHOUT_ETCD',
      `-workers ${workers} needs -etcd, by which workers share the shards. Give -etcd, or leave -workers away.`,
      { workers },
    )
  }
  const start = integer('start') ?? 0
  const stop = integer('stop')
  const shardCount = integer('shards')
  if (stop !== null && stop <= start) {
    throw badValue(
      { flag: 'stop', kind: 'integer' },
      text('stop'),
      `a number above -start ${start}`,
    )
  }
  if (shardCount !== null && Math.max(start + 1, stop ?? 0) > shardCount) {
    throw badValue(
      { flag: stop === null ? 'start' : 'stop', kind: 'integer' },
      text(stop === null ? 'start' : 'stop'),
      `shards within -shards ${shardCount}`,
    )
  }
  const cacheKinds = parseCacheKinds(text('cache'))
  return {
    kind: isOn(values.get('check')) ? 'check' : 'run',
    config: {
      exposedFlags: exposed,
      token: readToken(values.get('token'), values.get('token-file')),
      psql,
      dataDir: text('data'),
      cacheKinds,
      destinations: readDestinations(values, given, env),
      isReloadable: given.has('destinations'),
      name: text('name'),
      podId: text('podId'),
      shardCount,
      start,
      stop,
      workers,
      intents: parseIntents(text('intents')),
      grpcAddress: address('addr'),
      advertise: text('advertise'),
      httpAddress: address('http'),
      adminToken: text('admin-token') === '' ? null : new Secret(text('admin-token')),
      readToken: text('read-token') === '' ? null : new Secret(text('read-token')),
      writeToken: text('write-token') === '' ? null : new Secret(text('write-token')),
      isEncodingGiven: given.has('encoding') || given.has('destinations'),
      hasShardMetrics: given.has('shard-metrics') && isOn(values.get('shard-metrics')),
      backendToken: text('backend-token') === '' ? null : new Secret(text('backend-token')),
      membersMax: readMembers(text('members'), parseIntents(text('intents')), cacheKinds),
      commands:
        text('commands') === 'none'
          ? null
          : {
              address: new Secret(text('commands')),
              key: text('commands-key'),
              form: text('commands-form') === 'stream' ? 'stream' : 'list',
            },
      isProd: given.has('prod') && isOn(values.get('prod')),
      logLevel: text('log-level') as GatewayConfig['logLevel'],
      discordApi: readApi(text('discord-api')),
      compress: text('compress') as GatewayConfig['compress'],
      upstream: text('upstream') as GatewayConfig['upstream'],
      etcd,
      etcdCaFile: text('etcd-ca'),
      shardsMax: integer('max-shards'),
      rebalanceSettleSeconds: Number(text('rebalance-settle')),
      rebalancePercent: Number(text('rebalance-percent')),
      leaseTtlSeconds: Number(text('lease-ttl')),
      identifyReservePercent: Number(text('identify-reserve')),
      identifyBreakerCount: Number(text('identify-breaker')),
    },
  }
}

function readToken(token: string | undefined, file: string | undefined): Secret {
  let value = token ?? ''
  if (value === '' && file !== undefined) {
    try {
      value = readFileSync(file, 'utf8')
    } catch (error) {
      throw new ConfigError(
        'CONFIG_TOKEN_FILE',
        `-token-file: ${messageOf(error)}`,
        { file },
        { cause: error },
      )
    }
  }
  value = value.trim().replace(/^Bot\s+/i, '')
  if (value === '') {
    throw new ConfigError(
      'CONFIG_NO_TOKEN',
      "there is no bot token. Give -token-file, DISCORD_TOKEN or -token; it stands in Discord's Developer Portal under Bot.",
    )
  }
  return new Secret(value)
}

/** `all`, `<=N`, `none`. What cannot be fetched, or is not kept, is refused instead of being nothing. */
function readMembers(value: string, intents: number, kinds: readonly StateKind[]): number {
  if (value === 'none') return -1
  const bound = /^<=([0-9]{1,9})$/.exec(value)?.[1]
  if (value !== 'all' && bound === undefined) {
    throw badValue({ flag: 'members', kind: 'text' }, value, 'all, none, or <=N as <=1000')
  }
  if ((intents & INTENTS.GUILD_MEMBERS) === 0 || !kinds.includes('members')) {
    throw new ConfigError(
      'CONFIG_MEMBERS',
      `-members ${value} needs the intent GUILD_MEMBERS and a -cache that keeps members. Add them, or leave -members away.`,
    )
  }
  return bound === undefined ? Number.MAX_SAFE_INTEGER : Number(bound)
}

function readApi(value: string): string {
  if (!/^https?:\/\/[^/]/.test(value)) {
    throw badValue({ flag: 'discord-api', kind: 'text' }, value, 'a URL as https://discord.com/api')
  }
  return value.replace(/\/+$/, '').replace(/\/v[0-9]+$/, '')
}

function isEndpoint(text: string): boolean {
  const url = text.trim()
  return url !== '' && URL.canParse(/^https?:\/\//.test(url) ? url : `http://${url}`)
}
