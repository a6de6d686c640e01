/** The destinations of the configuration, as the push runs them. */
import type { Clock, Counters, Log, Random } from '../../src/base/index.ts'
import type { DestinationConfig, GrpcPushConfig } from '../../src/config/index.ts'
import {
  type AckLane,
  type AckLanes,
  type Destination,
  GrpcPushDestination,
  type GrpcPushOptions,
  openStdout,
  type PushDrop,
  redisList,
  redisStream,
  Spill,
  type SpillLedger,
  type SpillThread,
  StdoutDestination,
  SubscribeDestination,
  type Wanted,
} from '../../src/push/index.ts'

export interface DestinationDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  /** What Redis shows of the connections. */
  readonly connectionName: string
  /** Whose marks -redis-marks keeps: the same for every worker of the fleet. */
  readonly fleetId: string
  /** Where destinations keep what does not fit into memory, and the thread that writes it. */
  readonly spill: {
    readonly folder: string
    readonly thread: SpillThread
    readonly ledger: SpillLedger
  }
  /** A new lane of the acknowledgement marks. */
  readonly lane: () => AckLane
  /** What is outstanding in a lane holds nothing back any more. */
  readonly removeLane: (lane: AckLane) => void
  readonly onDrop: (drop: PushDrop) => void
}

/** A destination with what belongs to it outside of the room. */
export interface WiredDestination {
  readonly config: DestinationConfig
  readonly destination: Destination
  /** After its drain: it holds no acknowledgement back any more. */
  readonly release: () => void
}

/** An event that a destination has not taken for so long goes to the disk and is accepted by that. */
const SPILL_AFTER_MS = 2000
/** The same of a required one: beyond it Discord may not replay the event any more. */
const SPILL_AFTER_REQUIRED_MS = 30_000

/** @throws PushError for an address, a certificate or a folder that cannot be used. */
export async function wireDestination(
  config: DestinationConfig,
  deps: DestinationDeps,
): Promise<WiredDestination> {
  const spill = await openSpill(config, deps)
  const lanes = { direct: deps.lane(), afterCache: deps.lane() }
  const release = (): void => {
    deps.removeLane(lanes.direct)
    deps.removeLane(lanes.afterCache)
  }
  try {
    return { config, destination: createDestination(config, lanes, spill, deps), release }
  } catch (error) {
    release()
    throw error
  }
}

async function openSpill(
  config: DestinationConfig,
  deps: DestinationDeps,
): Promise<Spill | undefined> {
  if (config.whenFull !== 'spill') return undefined
  return await Spill.open({
    ...deps,
    ...deps.spill,
    destination: config.name,
    form: formOf(config),
    bytesMax: config.spillBytesMax,
    afterMs: config.isRequired ? SPILL_AFTER_REQUIRED_MS : SPILL_AFTER_MS,
  })
}

/** How payloads are written: what lies in a spill is delivered in the same form only. */
function formOf({ kind, payload, encoding, grpcPush }: DestinationConfig): string {
  switch (kind) {
    case 'redis-list':
      return `${kind} ${payload} ${encoding}`
    case 'redis-stream':
      return `${kind} ${encoding}`
    case 'stdout':
      return `${kind} ${payload}`
    case 'grpc-push':
      return `${kind} ${grpcPush?.method ?? ''} ${payload} ${encoding}`
    case 'grpc-subscribe':
      return kind
  }
}

/** What of the configuration may change in flight. */
export function wantedOf({ events, rules }: DestinationConfig): Wanted {
  return {
    events: events === null ? undefined : [...events],
    rules: rules ?? undefined,
  }
}

function createDestination(
  config: DestinationConfig,
  acks: AckLanes,
  spill: Spill | undefined,
  deps: DestinationDeps,
): Destination {
  const { name, address, isRequired, stream } = config
  const { connectionName, clock, random, log, counters, onDrop } = deps
  const options = {
    clock,
    random,
    log,
    counters,
    onDrop,
    name,
    isRequired,
    limits: {
      eventsMax: config.queueEventsMax,
      bytesMax: config.queueBytesMax,
      ageMaxMs: config.queueAgeMaxSeconds * 1000,
    },
    whenFull: config.whenFull,
    spill,
    ...wantedOf(config),
    acks,
  }
  if (config.kind === 'stdout') {
    return new StdoutDestination({ ...options, payload: config.payload, output: openStdout() })
  }
  if (config.grpcPush !== null) return grpcPush(config, config.grpcPush, options)
  if (address === null) return new SubscribeDestination(options)
  const redis = {
    ...options,
    address: address.reveal(),
    connectionName,
    keyPrefix: config.prefix,
    encoding: config.encoding,
  }
  if (stream === null) {
    const watermark = { entriesMax: config.listEntriesMax, bytesMax: config.listBytesMax }
    const marks = config.hasMarks ? deps.fleetId : undefined
    return redisList({ ...redis, payload: config.payload, watermark, marks })
  }
  return redisStream({
    ...redis,
    split:
      stream.split === 'guild'
        ? { by: 'guild', partitions: stream.partitions }
        : { by: stream.split },
    trim: {
      ...(stream.entriesMax === null ? {} : { entriesMax: stream.entriesMax }),
      ...(stream.ageSecondsMax === null ? {} : { ageSecondsMax: stream.ageSecondsMax }),
    },
  })
}

/** At most this many bytes are under way to a consumer. */
const WINDOW_BYTES_MAX = 8 * 1024 * 1024

function grpcPush(
  config: DestinationConfig,
  { addresses, method, spread, tls, windowEvents, deadlineSeconds }: GrpcPushConfig,
  common: Omit<GrpcPushOptions, 'addresses' | 'method' | 'spread' | 'payload' | 'encoding'>,
): Destination {
  return new GrpcPushDestination({
    ...common,
    addresses,
    method,
    spread,
    keyPrefix: config.prefix,
    payload: config.payload,
    encoding: config.encoding,
    deadlineMs: deadlineSeconds * 1000,
    ...(windowEvents === null
      ? {}
      : { window: { eventsMax: windowEvents, bytesMax: WINDOW_BYTES_MAX } }),
    ...(tls === null
      ? {}
      : {
          tls: {
            ca: tls.ca ?? undefined,
            cert: tls.cert ?? undefined,
            key: tls.key?.reveal(),
            serverName: tls.serverName ?? undefined,
          },
        }),
  })
}
