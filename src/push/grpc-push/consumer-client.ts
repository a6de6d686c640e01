import {
  type ChannelCredentials,
  Client,
  connectivityState,
  credentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { backoffMs, type Clock, messageOf, type Random, sleep } from '../../base/index.ts'
import { PushError } from '../errors.ts'

/** PEM texts; all absent: no TLS. */
export interface TlsOptions {
  /** What the consumer's certificate is checked against; absent: Node's own. */
  readonly ca?: string | undefined
  /** The own certificate and its key, for a consumer that asks for one. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** The name that the consumer's certificate must have, if it is not the address'. */
  readonly serverName?: string | undefined
}

const BACKOFF = { baseMs: 100, maxMs: 5_000 }
const PROBE_DEADLINE_MS = 5_000
const KEEP_ALIVE_MS = 15_000
/** Served by most; who does not serve it answers UNIMPLEMENTED, which says as much. */
const HEALTH_CHECK = '/grpc.health.v1.Health/Check'
/** In the details of a call that found no connection. */
const CERTIFICATE_FAULT = /certificate|altnames|self[- ]signed|ERR_TLS|SSL routines/i
const NO_BYTES = Buffer.alloc(0)

export const asIs = (message: Buffer): Buffer => message

/** One consumer's server: a connection of grpc-js, which comes back by itself. */
export class ConsumerClient {
  readonly address: string
  readonly client: Client

  /** @throws PushError PUSH_CERTIFICATE for a certificate and a key that do not belong together. */
  constructor(address: string, tls: TlsOptions | undefined) {
    this.address = address
    this.client = new Client(address, credentialsOf(tls, address), {
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEP_ALIVE_MS,
      'grpc.initial_reconnect_backoff_ms': BACKOFF.baseMs,
      'grpc.max_reconnect_backoff_ms': BACKOFF.maxMs,
      ...(tls?.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': tls.serverName }),
    })
  }

  get isConnected(): boolean {
    return this.client.getChannel().getConnectivityState(false) === connectivityState.READY
  }

  /**
   * Waits until the consumer answers.
   *
   * @throws PushError PUSH_UNREACHABLE after the time, PUSH_CERTIFICATE at once.
   */
  async reach(deps: {
    readonly timeoutMs: number
    readonly clock: Clock
    readonly random: Random
  }): Promise<void> {
    const { timeoutMs, clock, random } = deps
    const endsAtMs = clock.monotonic() + timeoutMs
    for (let attempt = 0; ; attempt++) {
      const error = await this.#probe(clock.now() + PROBE_DEADLINE_MS)
      if (error === null) return
      if (isCertificateFault(error)) {
        throw new PushError(
          'PUSH_CERTIFICATE',
          `The consumer at ${this.address} and this program do not accept each other's certificates (${causeOf(error)}). Check ca-file, cert-file, key-file and server-name.`,
          { address: this.address },
          { cause: error },
        )
      }
      if (clock.monotonic() >= endsAtMs) {
        throw new PushError(
          'PUSH_UNREACHABLE',
          `The consumer at ${this.address} did not answer within ${Math.ceil(timeoutMs / 1000)} s (${attempt + 1} attempts, last: ${causeOf(error)}).`,
          { address: this.address, attempts: attempt + 1 },
          { cause: error, retryable: true },
        )
      }
      await sleep(clock, backoffMs(attempt, random, BACKOFF))
    }
  }

  close(): void {
    this.client.close()
  }

  /** @returns the error when nobody answered. */
  #probe(deadline: number): Promise<ServiceError | null> {
    return new Promise((resolve) => {
      this.client.makeUnaryRequest(HEALTH_CHECK, asIs, asIs, NO_BYTES, { deadline }, (error) => {
        const isSilent =
          error?.code === status.UNAVAILABLE ||
          error?.code === status.DEADLINE_EXCEEDED ||
          error?.code === status.CANCELLED
        resolve(isSilent ? error : null)
      })
    })
  }
}

function isCertificateFault(error: { readonly details?: string }): boolean {
  return CERTIFICATE_FAULT.test(error.details ?? '')
}

/** What an operator wants to read of a call's error. */
export function causeOf(error: { readonly code?: number; readonly details?: string }): string {
  const name = status[error.code ?? status.UNKNOWN] ?? 'UNKNOWN'
  return `${name}: ${error.details ?? ''}`.slice(0, 300)
}

function credentialsOf(tls: TlsOptions | undefined, address: string): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure()
  const bytes = (text: string | undefined): Buffer | null =>
    text === undefined ? null : Buffer.from(text)
  try {
    return credentials.createSsl(bytes(tls.ca), bytes(tls.key), bytes(tls.cert))
  } catch (error) {
    throw new PushError(
      'PUSH_CERTIFICATE',
      `The certificates for the consumer at ${address} cannot be used (${messageOf(error)}). cert-file and key-file must belong together, in PEM.`,
      { address },
      { cause: error },
    )
  }
}
