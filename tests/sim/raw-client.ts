/** A gateway client that keeps what it gets and does nothing by itself. */
import { createInflate, createZstdDecompress } from 'node:zlib'
import { WebSocket } from 'ws'
import { ALL_INTENTS } from '../../src/discord/index.ts'
import type { Sim } from '../../sim/index.ts'
import { decodeTerm, encodeTerm } from '../../src/etf/index.ts'
import { until } from '../support/until.ts'

export interface Payload {
  readonly op: number
  readonly s: number | null
  readonly t: string | null
  readonly d: unknown
}

export interface RawOptions {
  readonly encoding?: 'json' | 'etf'
  readonly compress?: 'zlib-stream' | 'zstd-stream' | 'none'
  /** In place of the query that the two above make. */
  readonly query?: string
  readonly headers?: Record<string, string>
}

export class RawClient {
  readonly payloads: Payload[] = []
  /** Payloads as they were before decoding. */
  readonly raw: Buffer[] = []
  /** Websocket messages. */
  messages = 0
  closed: { code: number; reason: string } | null = null
  readonly ws: WebSocket
  readonly #encoding: 'json' | 'etf'
  readonly #stream: ReturnType<typeof createInflate> | null
  #inflated: Buffer[] = []
  readonly #waiting: { readonly data: Buffer; readonly ends: boolean }[] = []
  #isBroken = false

  constructor(sim: Sim, options: RawOptions = {}) {
    this.#encoding = options.encoding ?? 'json'
    const compress = options.compress ?? 'none'
    const query =
      options.query ??
      `v=10&encoding=${this.#encoding}${compress === 'none' ? '' : `&compress=${compress}`}`
    this.ws = new WebSocket(`${sim.gatewayUrl}/?${query}`, {
      rejectUnauthorized: false,
      headers: { 'user-agent': 'raw-client', ...options.headers },
    })
    this.#stream =
      compress === 'none'
        ? null
        : compress === 'zlib-stream'
          ? createInflate()
          : (createZstdDecompress() as unknown as ReturnType<typeof createInflate>)
    this.#stream?.on('data', (chunk: Buffer) => this.#inflated.push(chunk))
    this.#stream?.on('error', () => {
      this.#isBroken = true
    })
    this.ws.on('message', (data: Buffer) => this.#onMessage(data, compress))
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
    })
    this.ws.on('error', () => {
      this.closed ??= { code: 0, reason: 'error' }
    })
  }

  get isBroken(): boolean {
    return this.#isBroken
  }

  get dispatches(): Payload[] {
    return this.payloads.filter((payload) => payload.op === 0)
  }

  get sequence(): number {
    return this.dispatches.at(-1)?.s ?? 0
  }

  get sessionId(): string {
    return (this.of('READY')[0]!.d as { session_id: string }).session_id
  }

  of(t: string): Payload[] {
    return this.payloads.filter((payload) => payload.t === t)
  }

  ops(op: number): Payload[] {
    return this.payloads.filter((payload) => payload.op === op)
  }

  async waitOp(op: number, count = 1): Promise<Payload> {
    await until(() => this.ops(op).length >= count, { what: `op ${op}`, timeoutMs: 15_000 })
    return this.ops(op)[count - 1]!
  }

  async waitFor(t: string, count = 1): Promise<Payload> {
    await until(() => this.of(t).length >= count, { what: t, timeoutMs: 15_000 })
    return this.of(t)[count - 1]!
  }

  async waitClosed(): Promise<{ code: number; reason: string }> {
    await until(() => this.closed !== null, { what: 'the close', timeoutMs: 15_000 })
    return this.closed!
  }

  send(op: number, d: unknown): void {
    this.sendBytes(
      this.#encoding === 'etf' ? encodeTerm({ op, d }) : Buffer.from(JSON.stringify({ op, d })),
    )
  }

  sendBytes(bytes: Uint8Array): void {
    this.ws.send(bytes, { binary: this.#encoding === 'etf' })
  }

  identify(sim: Sim, more: Record<string, unknown> = {}): void {
    this.send(2, {
      token: sim.token,
      properties: { os: 'linux', browser: 'raw', device: 'raw' },
      intents: ALL_INTENTS,
      ...more,
    })
  }

  resume(sim: Sim, sessionId: string, seq: number | null): void {
    this.send(6, { token: sim.token, session_id: sessionId, seq })
  }

  #onMessage(data: Buffer, compress: string): void {
    this.messages++
    if (this.#stream === null) return this.#onPayload(data)
    const ends = compress === 'zstd-stream' || data.subarray(-4).toString('hex') === '0000ffff'
    this.#waiting.push({ data, ends })
    if (this.#waiting.length === 1) this.#inflate()
  }

  /** One message at a time: its output may come a turn after the write's callback. */
  #inflate(): void {
    const next = this.#waiting[0]
    if (next === undefined || this.#isBroken) return
    this.#stream!.write(next.data, () => {
      setImmediate(() => {
        this.#waiting.shift()
        if (this.#isBroken) return
        if (next.ends) {
          const payload = Buffer.concat(this.#inflated)
          this.#inflated = []
          this.#onPayload(payload)
        }
        this.#inflate()
      })
    })
  }

  #onPayload(bytes: Buffer): void {
    this.raw.push(bytes)
    try {
      const payload =
        this.#encoding === 'etf' ? decodeTerm(bytes) : (JSON.parse(bytes.toString()) as unknown)
      this.payloads.push(payload as Payload)
    } catch {
      this.#isBroken = true
    }
  }
}

/** Connected, with HELLO. */
export async function connect(sim: Sim, options: RawOptions = {}): Promise<RawClient> {
  const client = new RawClient(sim, options)
  await client.waitOp(10)
  return client
}

/** Connected, identified, with READY. */
export async function connectReady(
  sim: Sim,
  options: RawOptions & { readonly identify?: Record<string, unknown> } = {},
): Promise<RawClient> {
  const client = await connect(sim, options)
  client.identify(sim, options.identify)
  await client.waitFor('READY')
  return client
}
