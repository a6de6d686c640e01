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
} from '../../src/push/index.ts'

export interface WiredDestinations {
  readonly destinations: readonly Destination[]
  /** The one that the gRPC listener serves; null for none. */
  readonly subscribe: SubscribeDestination | null
  readonly close: () => void
}

export function createDestinations(
  configs: readonly DestinationConfig[],
  deps: {
    readonly clock: Clock
    readonly random: Random
    readonly log: Log
    readonly counters: Counters
    /** What Redis shows of the connections. */
    readonly connectionName: string
    /** A new lane of the acknowledgement marks. */
    readonly lane: () => AckLane
    readonly onDrop: (drop: PushDrop) => void
  },
): WiredDestinations {
  const { connectionName, lane, ...common } = deps
  const optional: OptionalAcks[] = []
  let subscribe: SubscribeDestination | null = null
  const destinations = configs.map((config): Destination => {
    const { name, address, isRequired } = config
    let acks: AckLanes = { direct: lane(), afterCache: lane() }
    if (!isRequired) {
      const optionalAcks = new OptionalAcks({ ...common, destination: name, acks })
      optional.push(optionalAcks)
      acks = optionalAcks.lanes
    }
    const options = {
      ...common,
      name,
      isRequired,
      limits: {
        eventsMax: config.queueEventsMax,
        bytesMax: config.queueBytesMax,
        ageMaxMs: config.queueAgeMaxSeconds * 1000,
      },
      whenFull: config.whenFull,
      ...(config.events === null ? {} : { events: [...config.events] }),
      ...(config.rules === null ? {} : { rules: config.rules }),
      acks,
    }
    if (config.kind === 'stdout') {
      return new StdoutDestination({ ...options, payload: config.payload, output: openStdout() })
    }
    if (config.grpcPush !== null) return grpcPush(config, config.grpcPush, options)
    if (address === null) return (subscribe = new SubscribeDestination(options))
    const redis = {
      ...options,
      address: address.reveal(),
      connectionName,
      keyPrefix: config.prefix,
      encoding: config.encoding,
    }
    const { stream } = config
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
  })
  return {
    destinations,
    subscribe,
    close: () => {
      for (const acks of optional) acks.close()
    },
  }
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
