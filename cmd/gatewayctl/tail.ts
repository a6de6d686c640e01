/** `gatewayctl tail`: the events of all workers as they come, each a line of JSON. */
import type { ClientReadableStream, ServiceError } from '@grpc/grpc-js'
import { status } from '@grpc/grpc-js'
import { type Clock, sleep } from '../../src/base/index.ts'
import { CallError, EventClient, type TailedEvent, type TailFilter } from './client.ts'

/** Workers come and go, and streams end: how often it is looked for those that lack one. */
const LOOK_MS = 1_000
/** What standard output has not taken. Further events are left out: a tail never holds up a gateway. */
const UNWRITTEN_BYTES_MAX = 4 * 1024 * 1024
/** Nothing that another attempt would change. */
const FATAL: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.UNIMPLEMENTED,
])

/** Where the lines go. */
export interface Output {
  write(text: string): void
  /** Bytes that were written and are not taken yet. */
  readonly unwrittenBytes: number
  /** The operator has seen enough, or nobody reads any more. */
  readonly signal: AbortSignal
}

export interface TailOptions {
  readonly filter: TailFilter
  /** Events after which it ends; null: never. */
  readonly eventsMax: number | null
  readonly output: Output
  /** Addresses of the workers that are there now. */
  readonly workers: () => Promise<readonly string[]>
  readonly clock: Clock
}

export interface TailEnd {
  readonly shown: number
  /** Left out since standard output did not take them. */
  readonly leftOut: number
}

/** Until the output's signal or the last wanted event. @throws CallError for what another attempt would not change */
export async function tail(options: TailOptions): Promise<TailEnd> {
  const { output, eventsMax, clock } = options
  const streams = new Map<
    string,
    { client: EventClient; stream: ClientReadableStream<TailedEvent> }
  >()
  const over = new AbortController()
  const signal = AbortSignal.any([output.signal, over.signal])
  let shown = 0
  let leftOut = 0
  let failure: CallError | undefined
  const show = (event: TailedEvent, worker: string): void => {
    if (signal.aborted) return
    if (output.unwrittenBytes > UNWRITTEN_BYTES_MAX) {
      leftOut++
      return
    }
    output.write(`${lineOf(event, worker)}\n`)
    if (++shown === eventsMax) over.abort()
  }
  const follow = (address: string): void => {
    const client = new EventClient(address)
    const stream = client.subscribe(options.filter)
    streams.set(address, { client, stream })
    stream.on('data', (event: TailedEvent) => show(event, address))
    const onGone = (error?: ServiceError): void => {
      client.close()
      if (streams.get(address)?.stream === stream) streams.delete(address)
      if (error === undefined || !FATAL.has(error.code) || signal.aborted) return
      failure = refusal(error, address)
      over.abort()
    }
    stream.once('error', onGone)
    stream.once('end', () => onGone())
  }
  while (!signal.aborted) {
    try {
      for (const address of await options.workers()) if (!streams.has(address)) follow(address)
    } catch (error) {
      // None answers at the moment. Before anything was heard that is a mistake in the address.
      if (shown === 0 && streams.size === 0) throw error
    }
    await sleep(clock, LOOK_MS, signal).catch(() => undefined)
  }
  for (const { client, stream } of streams.values()) {
    stream.on('error', () => undefined)
    stream.cancel()
    client.close()
  }
  if (failure !== undefined) throw failure
  return { shown, leftOut }
}

/** `d` is JSON as it came: numbers that JavaScript would round stay as they are. */
function lineOf(event: TailedEvent, worker: string): string {
  const { t, s, shard, session_id, received_at } = event
  const head = JSON.stringify({
    t,
    s: Number(s),
    shard,
    session_id,
    ...(event.class === '' ? {} : { class: event.class }),
    received_at: new Date(Number(received_at)).toISOString(),
    worker,
  })
  return `${head.slice(0, -1)},"d":${event.d.toString('utf8')}}`
}

function refusal(error: ServiceError, address: string): CallError {
  if (error.code !== status.UNIMPLEMENTED) {
    return new CallError('SERVER_BAD_REQUEST', `${address} refuses: ${error.details}.`, false)
  }
  const sentence = `The gateway at ${address} serves no events by gRPC: add a destination of the kind grpc-subscribe to its -destinations.`
  return new CallError('SERVER_NO_ROUTE', sentence, false)
}
