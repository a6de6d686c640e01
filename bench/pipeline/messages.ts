/** What the bench and its processes say to each other. */
import type { Compression } from './frames.ts'
import type { Mix } from './mixes.ts'

export const GROUPS = ['gateway', 'discordjs', 'floor'] as const
export type Group = (typeof GROUPS)[number]

export interface GeneratorOptions {
  readonly shards: number
  readonly mix: Mix
  readonly compression: Compression
  readonly tls: boolean
  readonly groups: readonly Group[]
}

export interface GeneratorReady {
  readonly api: string
  readonly url: string
  readonly certificate: string
}

export type GeneratorCommand =
  /** Events at so many a second over all connections; null: as many as the sockets take. */
  | { readonly do: 'start'; readonly group: Group; readonly rate: number | null }
  | { readonly do: 'stop'; readonly group: Group }
  /** Every connection of the group gets this many events at once. */
  | { readonly do: 'burst'; readonly group: Group; readonly events: number }
  /** Op 7 to every connection. */
  | { readonly do: 'reconnect'; readonly group: Group }
  | { readonly do: 'state'; readonly group: Group }

export interface GeneratorState {
  /** Connections that stream events. */
  readonly open: number
  readonly sent: number
  readonly identifies: number
  readonly resumes: number
  /** The longest time between two heartbeats of a connection, less the interval, in ms. */
  readonly heartbeatLateMs: number
}

export type ConsumerCommand =
  | { readonly do: 'watch'; readonly prefix: string; readonly rowEvents: readonly string[] }
  /** Takes nothing from the lists, only counts, until `resume`. */
  | { readonly do: 'pause' }
  | { readonly do: 'resume' }
  | { readonly do: 'state' }
  | { readonly do: 'forget' }

export interface Delays {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface ConsumerState {
  /** Taken and still listed. */
  readonly events: number
  /** Per shard out of order, repeated or missing. */
  readonly faults: number
  readonly direct: Delays
  readonly afterCache: Delays
}

export interface RivalOptions {
  readonly api: string
  readonly url: string
  readonly shards: number
  readonly compression: Compression
  readonly redisPort: number
  readonly prefix: string
  readonly psql: string | null
}

export interface RivalState {
  readonly events: number
  readonly loopP50Ms: number
  readonly loopP99Ms: number
  readonly loopMaxMs: number
  readonly gcMs: number
}
