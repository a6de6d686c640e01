/**
 * GET /gateway/bot: where to connect, how many shards Discord recommends, how many identifies are left.
 * See [Discord Docs/Gateway#get-gateway-bot].
 */
import { request } from 'undici'
import { backoffMs, messageOf, sleep } from '../base/index.ts'
import type { Clock, Log, Random, Secret } from '../base/index.ts'
import { closeCode } from '../discord/index.ts'
import { apiUrl } from './api-url.ts'
import { ShardError } from './errors.ts'

export interface SessionStartLimit {
  /** Identifies per 24 hours. */
  readonly total: number
  readonly remaining: number
  /** Time in ms until `remaining` is `total` again. */
  readonly resetAfterMs: number
  /** Identifies per 5 s. */
  readonly maxConcurrency: number
}

export interface GatewayBot {
  /** Websocket URL without query. */
  readonly url: string
  /** Recommended shard count. */
  readonly shards: number
  readonly sessionStartLimit: SessionStartLimit
}

export interface GatewayBotOptions {
  /** `https://discord.com/api` or `…/api/v10`. */
  readonly api: string
  readonly token: Secret
  readonly userAgent: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** How long network errors, 429 and 5xx are retried. Default 30 s. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

const REQUEST_TIMEOUT_MS = 10_000
const DEADLINE_MS = 30_000

/**
 * @throws ShardError SHARD_TOKEN_REFUSED for 401 (at once), SHARD_API_UNEXPECTED for an answer that is
 *   none, SHARD_API_UNREACHABLE after the deadline; the signal's reason when aborted.
 */
export async function fetchGatewayBot(options: GatewayBotOptions): Promise<GatewayBot> {
  const { clock, random, log, signal } = options
  const url = apiUrl(options.api, '/gateway/bot')
  const deadline = clock.monotonic() + (options.deadlineMs ?? DEADLINE_MS)
  for (let attempt = 0; ; attempt++) {
    let waitMs = backoffMs(attempt, random, { baseMs: 500, maxMs: 10_000 })
    let cause: string
    try {
      const response = await request(url, {
        headers: {
          authorization: `Bot ${options.token.reveal().replace(/^Bot /, '')}`,
          'user-agent': options.userAgent,
        },
        headersTimeout: REQUEST_TIMEOUT_MS,
        bodyTimeout: REQUEST_TIMEOUT_MS,
        ...(signal === undefined ? {} : { signal }),
      })
      const body = await response.body.text()
      if (response.statusCode === 200) return parse(url, body)
      if (response.statusCode === 401) {
        throw new ShardError('SHARD_TOKEN_REFUSED', closeCode(4004)?.cure ?? '', { url })
      }
      if (response.statusCode !== 429 && response.statusCode < 500) {
        throw unexpected(url, `HTTP ${response.statusCode}`)
      }
      cause = `HTTP ${response.statusCode}`
      const retryAfter = Number(response.headers['retry-after'])
      if (retryAfter > 0) waitMs = Math.max(waitMs, retryAfter * 1000)
    } catch (error) {
      if (error instanceof ShardError) throw error
      if (signal?.aborted) throw signal.reason
      cause = messageOf(error)
    }
    if (clock.monotonic() + waitMs > deadline) {
      const message = `GET ${url} failed ${attempt + 1} times; the last cause: ${cause}. Check the network and -discord-api.`
      throw new ShardError('SHARD_API_UNREACHABLE', message, { url, cause }, { retryable: true })
    }
    log.warn('GET /gateway/bot failed, trying again', { url, cause, waitMs })
    await sleep(clock, waitMs, signal)
  }
}

function parse(url: string, body: string): GatewayBot {
  let answer: unknown
  try {
    answer = JSON.parse(body)
  } catch {
    throw unexpected(url, 'a body that is not JSON')
  }
  const { url: gatewayUrl, shards, session_start_limit: limit } = record(answer)
  const { total, remaining, reset_after: resetAfterMs, max_concurrency } = record(limit)
  if (typeof gatewayUrl !== 'string' || !/^wss?:\/\//.test(gatewayUrl)) {
    throw unexpected(url, 'a body without a websocket url')
  }
  return {
    url: gatewayUrl,
    shards: count(shards, 1),
    sessionStartLimit: {
      total: count(total, 1000),
      remaining: count(remaining, count(total, 1000)),
      resetAfterMs: count(resetAfterMs, 0),
      maxConcurrency: Math.max(1, count(max_concurrency, 1)),
    },
  }
}

function record(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : {}
}

function count(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : fallback
}

function unexpected(url: string, what: string): ShardError {
  const message = `GET ${url} answered with ${what}. Check that -discord-api is the address of Discord's API.`
  return new ShardError('SHARD_API_UNEXPECTED', message, { url })
}
