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
  OptionalAcks,
  type PushDrop,
  redisList,
  redisStream,
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

/** @throws PushError for an address or a certificate that cannot be used. */
export function wireDestination(
  config: DestinationConfig,
  deps: DestinationDeps,
): WiredDestination {
  const lanes = { direct: deps.lane(), afterCache: deps.lane() }
  let optional: OptionalAcks | undefined
  const release = (): void => {
    optional?.close()
    deps.removeLane(lanes.direct)
    deps.removeLane(lanes.afterCache)
  }
  if (!config.isRequired) {
    optional = new OptionalAcks({ ...deps, destination: config.name, acks: lanes })
  }
  try {
    const destination = createDestination(config, optional?.lanes ?? lanes, deps)
    return { config, destination, release }
  } catch (error) {
    release()
    throw error
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
  if (stream === null) return redisList({ ...redis, payload: config.payload })
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
