import type { Secret } from '../base/index.ts'
import { ConfigError } from './errors.ts'
import type { GrpcPushConfig } from './grpc-push-config.ts'

export type DestinationKind =
  | 'redis-list'
  | 'redis-stream'
  | 'grpc-push'
  | 'grpc-subscribe'
  | 'stdout'

/** How events are shared out among the streams of a redis-stream, and what Redis forgets of them. */
export interface StreamConfig {
  readonly split: 'none' | 'event' | 'guild'
  readonly partitions: number
  /** Null: no bound. */
  readonly entriesMax: number | null
  readonly ageSecondsMax: number | null
}

/** What lets an event through; all that is given must hold. */
export interface FilterRuleConfig {
  /** Label in metrics. */
  readonly name: string
  readonly events?: ReadonlySet<string>
  readonly shards?: ReadonlySet<number>
  readonly guildIds?: ReadonlySet<bigint>
  /** Lifecycle classes of GUILD_CREATE and GUILD_DELETE. */
  readonly classes?: ReadonlySet<string>
  readonly channelIds?: ReadonlySet<bigint>
  readonly types?: ReadonlySet<number>
  readonly isAuthorBot?: boolean
  readonly contentPrefixes?: readonly string[]
}

/** One place that events go to, by flags, MULTI_REDIS or a line of the -destinations file. */
export interface DestinationConfig {
  /** Label in logs and metrics. */
  readonly name: string
  readonly kind: DestinationKind
  /** Of the Redis; null for other kinds. */
  readonly address: Secret | null
  readonly prefix: string
  readonly payload: 'd' | 'envelope'
  readonly encoding: 'etf' | 'json' | 'etf-bare'
  /** Null: every event. */
  readonly events: ReadonlySet<string> | null
  /** An event is wanted that one of these lets through. Null: no rules. */
  readonly rules: readonly FilterRuleConfig[] | null
  readonly queueEventsMax: number
  readonly queueBytesMax: number
  /** Of a redis-stream; else null. */
  readonly stream: StreamConfig | null
  /** Of a grpc-push; else null. */
  readonly grpcPush: GrpcPushConfig | null
  /** 0: any age. */
  readonly queueAgeMaxSeconds: number
  readonly whenFull: 'spill' | 'drop-oldest' | 'drop-new' | 'block'
  readonly spillBytesMax: number
  /** Of a Redis list that nobody reads; 0: no limit. */
  readonly listEntriesMax: number
  readonly listBytesMax: number
  /** Whether a Redis list keeps marks of what was pushed. */
  readonly hasMarks: boolean
  /** Whether the start waits for it, and the acknowledgement for its acceptance. */
  readonly isRequired: boolean
}

/** What the flags say, for what a destination does not say itself. */
export type DestinationDefaults = Omit<
  DestinationConfig,
  'name' | 'kind' | 'address' | 'rules' | 'stream' | 'grpcPush' | 'isRequired'
>

/**
 * Host, port and database of a Redis address, without user and password: what two addresses have in
 * common that mean the same server. Null: not an address.
 */
export function redisPlace(address: string): string | null {
  const sentinel = /^rediss?\+sentinel:\/\/(?:[^@/]*@)?([^@/]+)\/([\w.-]+)(\/[0-9]+)?$/.exec(
    address,
  )
  if (sentinel !== null) {
    const [, hosts, master, db = ''] = sentinel
    return `${hosts!.split(',').sort().join(',')}/${master}${db === '/0' ? '' : db}`
  }
  const text = address.includes('://') ? address : `redis://${address}`
  if (!URL.canParse(text)) return null
  const { protocol, hostname, port, pathname } = new URL(text)
  if (hostname === '' || (protocol !== 'redis:' && protocol !== 'rediss:')) return null
  const db = pathname.replace(/^\//, '').replace(/^0+/, '')
  return `${hostname}:${port === '' ? '6379' : port}${db === '' ? '' : `/${db}`}`
}

/**
 * Refuses two destinations that are one: the same name, or the same lists, which would get each event twice.
 *
 * @param where says where a destination stands, for the message.
 * @throws ConfigError CONFIG_DUPLICATE_DESTINATION
 */
export function refuseDuplicates(
  destinations: readonly DestinationConfig[],
  where: (index: number) => string,
): void {
  const names = new Map<string, number>()
  const places = new Map<string, number>()
  for (const [index, destination] of destinations.entries()) {
    const { name } = destination
    const place = placeOf(destination)
    const sameName = names.get(name)
    const samePlace = places.get(place)
    const first = sameName ?? samePlace
    if (first !== undefined) {
      const what = sameName === undefined ? 'goes to the same place as' : 'has the same name as'
      throw new ConfigError(
        'CONFIG_DUPLICATE_DESTINATION',
        `${where(index)}: destination ${name} ${what} the one at ${where(first)}. Leave one of them away.`,
        { destination: name },
      )
    }
    names.set(name, index)
    places.set(place, index)
  }
}

/** What two destinations have in common that would get each event twice. */
function placeOf({ kind, address, prefix, grpcPush }: DestinationConfig): string {
  if (grpcPush !== null) return `grpc ${[...grpcPush.addresses].sort().join(' ')}`
  return address === null ? kind : `${redisPlace(address.reveal()) ?? ''} ${prefix}`
}
