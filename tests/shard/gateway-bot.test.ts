import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Secret, silentLog, systemClock } from '../../src/base/index.ts'
import { fetchGatewayBot } from '../../src/shard/index.ts'
import type { GatewayBotOptions } from '../../src/shard/index.ts'

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
}

let server: Server
let answers: Answer[]
let seen: { url: string; authorization: string; userAgent: string }[]

const GOOD: Answer = {
  status: 200,
  body: {
    url: 'wss://gateway.example',
    shards: 9,
    session_start_limit: {
      total: 1000,
      remaining: 999,
      reset_after: 14_400_000,
      max_concurrency: 16,
    },
  },
}

beforeEach(async () => {
  answers = []
  seen = []
  server = createServer((request, response) => {
    const { authorization = '', 'user-agent': userAgent = '' } = request.headers
    seen.push({ url: request.url ?? '', authorization, userAgent })
    const { status, body, headers } = answers.shift() ?? GOOD
    response.writeHead(status, headers)
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve))
})

function options(given: Partial<GatewayBotOptions> = {}): GatewayBotOptions {
  return {
    api: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
    token: new Secret('secret'),
    userAgent: 'DiscordBot (https://example.org, 1.0)',
    clock: systemClock,
    random: () => 0,
    log: silentLog,
    ...given,
  }
}

test('asks as a bot does and gives units their names', async () => {
  const bot = await fetchGatewayBot(options())
  expect(bot).toEqual({
    url: 'wss://gateway.example',
    shards: 9,
    sessionStartLimit: {
      total: 1000,
      remaining: 999,
      resetAfterMs: 14_400_000,
      maxConcurrency: 16,
    },
  })
  expect(seen).toEqual([
    {
      url: '/api/v10/gateway/bot',
      authorization: 'Bot secret',
      userAgent: 'DiscordBot (https://example.org, 1.0)',
    },
  ])
})

test('takes an address with a version, and a token with its prefix, as they are', async () => {
  const { api } = options()
  await fetchGatewayBot(options({ api: `${api}/v9/`, token: new Secret('Bot secret') }))
  expect(seen[0]).toMatchObject({ url: '/api/v9/gateway/bot', authorization: 'Bot secret' })
})

test('tries again after 5xx and after 429 no sooner than it was told', async () => {
  answers = [
    { status: 502, body: 'bad gateway' },
    { status: 429, body: {}, headers: { 'retry-after': '0.4' } },
  ]
  const startedAt = performance.now()
  await fetchGatewayBot(options())
  expect(seen).toHaveLength(3)
  expect(performance.now() - startedAt).toBeGreaterThan(600)
})

test('401 is a refused token, at once and with the cure', async () => {
  answers = [{ status: 401, body: {} }]
  await expect(fetchGatewayBot(options())).rejects.toMatchObject({ code: 'SHARD_TOKEN_REFUSED' })
  expect(seen).toHaveLength(1)
})

test.each([
  ['404', { status: 404, body: {} }],
  ['a page', { status: 200, body: '<html>' }],
  ['no url', { status: 200, body: { shards: 1 } }],
  ['null', { status: 200, body: 'null' }],
])('%s is no Discord answer', async (_name, answer) => {
  answers = [answer]
  await expect(fetchGatewayBot(options())).rejects.toMatchObject({ code: 'SHARD_API_UNEXPECTED' })
})

test('an API that is not there is named, with the last cause, after the deadline', async () => {
  const fetching = fetchGatewayBot(options({ api: 'http://127.0.0.1:1/api', deadlineMs: 300 }))
  await expect(fetching).rejects.toMatchObject({
    code: 'SHARD_API_UNREACHABLE',
    message: expect.stringContaining('ECONNREFUSED') as string,
  })
})

test('an abort ends the waiting', async () => {
  answers = [{ status: 500, body: '' }]
  const stopping = new AbortController()
  const fetching = fetchGatewayBot(options({ signal: stopping.signal, random: () => 1 }))
  setTimeout(() => stopping.abort(new Error('stopped')), 30)
  await expect(fetching).rejects.toThrow('stopped')
})
