import { once } from 'node:events'
import { Agent, get, request } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import {
  BaseError,
  type Log,
  type LogFields,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { StateReader } from '../../src/cache/index.ts'
import { type HttpOptions, type HttpServer, startHttpServer } from '../../src/server/index.ts'
import { until } from '../support/until.ts'

type Query = (text: string, values: readonly unknown[]) => Promise<unknown[]>

const GUILD = '197038439483310086'
const opened: HttpServer[] = []

afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close()))
})

async function start(options: Partial<HttpOptions> = {}): Promise<HttpServer> {
  const server = await startHttpServer({
    address: '127.0.0.1:0',
    flag: 'addr',
    version: '1.2.3',
    clock: systemClock,
    log: silentLog,
    ...options,
  })
  opened.push(server)
  return server
}

/** A reader over a database that is this function. */
function readerOf(query: Query): StateReader {
  return new StateReader({
    query: (text, values = []) =>
      (text.includes('gateway_sessions') ? Promise.resolve([]) : query(text, values)) as Promise<
        never[]
      >,
  })
}

function recordingLog(): { log: Log; errors: [string, LogFields][] } {
  const errors: [string, LogFields][] = []
  return {
    errors,
    log: { ...silentLog, error: (message, fields = {}) => void errors.push([message, fields]) },
  }
}

interface Http2Answer {
  readonly status: number
  readonly body: string
  readonly headers: Record<string, unknown>
}

async function getHttp2(url: string, paths: readonly string[]): Promise<Http2Answer[]> {
  const session = connectHttp2(url)
  try {
    return await Promise.all(
      paths.map(async (path) => {
        const stream = session.request({ [constants.HTTP2_HEADER_PATH]: path })
        const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
        let body = ''
        for await (const chunk of stream) body += String(chunk)
        return { status: Number(headers[':status']), body, headers }
      }),
    )
  } finally {
    session.close()
  }
}

describe('startHttpServer', () => {
  test('answers HTTP/1.1 and cleartext HTTP/2 on one port', async () => {
    const reader = readerOf(async () => [{ n: 1, body: '{"id": "1"}' }])
    const { url } = await start({ state: { reader } })
    const first = await fetch(`${url}/healthz`)
    expect([first.status, await first.text()]).toEqual([200, 'Version: 1.2.3'])
    const path = `/v1/events/guilds/${GUILD}`
    const answers = await getHttp2(url, ['/healthz', path, '/v1/events/guilds/x', '/nowhere'])
    expect(answers.map(({ status, body }) => [status, body])).toEqual([
      [200, 'Version: 1.2.3'],
      [200, '{"id": "1"}'],
      [400, expect.stringContaining('guild "x" is not an id')],
      [404, 'There is no route GET /nowhere.'],
    ])
    expect(answers[1]!.headers['content-type']).toBe('application/json; charset=utf-8')
    const second = await fetch(url + path)
    expect(await second.json()).toEqual({ id: '1' })
  })

  test('an HTTP/1.1 connection is kept alive and carries many requests', async () => {
    const { url } = await start()
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ports = new Set<number>()
    for (let index = 0; index < 3; index++) {
      const [response] = (await once(get(`${url}/healthz`, { agent }), 'response')) as [
        NodeJS.ReadableStream & { socket: Socket },
      ]
      ports.add(response.socket.localPort!)
      for await (const _ of response);
    }
    agent.destroy()
    expect(ports.size).toBe(1)
  })

  test('an HTTP/1.1 request that arrives byte by byte, and begins like the preface, is read', async () => {
    const { url } = await start()
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.setNoDelay(true)
    for (const byte of 'PROPFIND /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n') {
      socket.write(byte)
      await nextTurn()
    }
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
  })

  test('an HTTP/2 preface that arrives byte by byte is HTTP/2', async () => {
    const { url } = await start()
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.setNoDelay(true)
    for (const byte of 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') {
      socket.write(byte)
      await nextTurn()
    }
    const emptySettings = Buffer.from('000000040000000000', 'hex')
    socket.write(emptySettings)
    const [frame] = (await once(socket, 'data')) as [Buffer]
    expect(frame[3]).toBe(4)
    socket.destroy()
  })

  test('garbage ends its connection and nothing else', async () => {
    const { url } = await start()
    for (const garbage of ['\0\0\0\0', 'PRI * HTTP/2.0\r\n\r\nXX', '\r\n\r\nnonsense\r\n\r\n']) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.on('error', () => undefined)
      socket.end(garbage)
      socket.resume()
      await once(socket, 'close')
    }
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('/metrics is what it is given; without it there is no such route', async () => {
    const metrics = { contentType: 'text/plain; version=0.0.4', render: async () => 'a_total 1\n' }
    const { url } = await start({ metrics })
    const response = await fetch(`${url}/metrics`)
    expect(response.headers.get('content-type')).toContain('version=0.0.4')
    expect(await response.text()).toBe('a_total 1\n')
    const { url: bare } = await start()
    expect((await fetch(`${bare}/metrics`)).status).toBe(404)
    expect((await fetch(`${bare}/v1/events/guilds_count`)).status).toBe(404)
  })

  test.each([
    ['a connection refused', Object.assign(new Error('x'), { code: 'ECONNREFUSED' })],
    [
      'an error that may pass',
      new BaseError('CACHE_CONNECTION_LOST', 'x', {}, { retryable: true }),
    ],
    ['a server that shuts down', Object.assign(new Error('x'), { code: '57P01' })],
    [
      'a cancelled statement',
      new Error('wrapped', { cause: Object.assign(new Error('x'), { code: '57014' }) }),
    ],
    ['missing tables', Object.assign(new Error('x'), { code: '42P01' })],
  ])('%s is 503 with Retry-After', async (_name, error) => {
    const { url } = await start({ state: { reader: readerOf(() => Promise.reject(error)) } })
    for (const path of [`guilds/${GUILD}`, `guilds/${GUILD}/members`, 'guilds_count']) {
      const response = await fetch(`${url}/v1/events/${path}`)
      expect(response.status).toBe(503)
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(await response.text()).toMatch(/^The database /)
    }
  })

  test('a failure inside is 500, told to the log and not to the client', async () => {
    const { log, errors } = recordingLog()
    const reader = readerOf(() => Promise.reject(new Error('secret internals')))
    const { url } = await start({ state: { reader }, log })
    const response = await fetch(`${url}/v1/events/guilds/${GUILD}`)
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain('secret')
    expect(errors.map(([message]) => message)).toEqual(['request failed'])
  })

  test('a list of many pages is whole over both', async () => {
    const padding = 'x'.repeat(100_000)
    const reader = readerOf(async (_text, [after]) => {
      const page = Math.max(0, Number(after)) + 1
      const bodies = JSON.stringify({ page, padding })
      return [{ bodies, after: String(page), count: page === 20 ? 1 : 500 }]
    })
    const { url } = await start({ state: { reader } })
    const path = '/v1/events/threads'
    const [overHttp2] = await getHttp2(url, [path])
    for (const text of [overHttp2!.body, await (await fetch(url + path)).text()]) {
      const pages = JSON.parse(text) as { page: number }[]
      expect(pages.map(({ page }) => page)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    }
  })

  test('a database that fails between pages breaks the answer off', async () => {
    const { log, errors } = recordingLog()
    let page = 0
    const reader = readerOf(async () => {
      page++
      if (page % 3 === 0) throw new Error('gone')
      return [{ bodies: '{"id": "1"}', after: String(page), count: 500 }]
    })
    const { url } = await start({ state: { reader }, log })
    const path = `/v1/events/guilds/${GUILD}/members`
    await expect(fetch(url + path).then((response) => response.text())).rejects.toThrow()
    const overHttp2 = await getHttp2(url, [path]).then(
      ([answer]) => answer!.body,
      () => '',
    )
    expect(overHttp2).not.toMatch(/\]$/)
    expect(errors.map(([message]) => message)).toEqual([
      'a list broke off in the middle of its answer',
      'a list broke off in the middle of its answer',
    ])
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('a long list is read from the database at the speed of its client', async () => {
    let pageCount = 0
    const body = JSON.stringify({ padding: 'x'.repeat(1000) })
    const bodies = Array.from({ length: 500 }, () => body).join(',')
    const reader = readerOf(async () => {
      pageCount++
      return [{ bodies, after: String(pageCount), count: 500 }]
    })
    const { url } = await start({ state: { reader } })
    const controller = new AbortController()
    const response = await fetch(`${url}/v1/events/threads`, { signal: controller.signal })
    const chunks = response.body!.getReader()
    await chunks.read()
    await until(() => pageCount > 3)
    let before = -1
    // The kernel's buffers fill, then it stands still.
    await until(async () => {
      const isStill = before === pageCount
      before = pageCount
      await new Promise((resolve) => setTimeout(resolve, 20))
      return isStill
    })
    expect(pageCount).toBeLessThan(200)
    controller.abort()
  })

  test('a request line or a header that is too long is refused', async () => {
    const { url } = await start()
    const response = await fetch(`${url}/v1/events/users?userIDs=${'1,'.repeat(40_000)}`)
    expect(response.status).toBe(431)
  })

  test('a body that is too large is refused', async () => {
    const { url } = await start()
    const response = await fetch(`${url}/healthz`, { method: 'POST', body: 'x'.repeat(100_000) })
    expect([404, 413]).toContain(response.status)
  })

  test('close finishes the request under way and refuses new ones', async () => {
    const gate = Promise.withResolvers<unknown[]>()
    let isAsked = false
    const reader = readerOf(() => {
      isAsked = true
      return gate.promise
    })
    const server = await start({ state: { reader } })
    const pending = fetch(`${server.url}/v1/events/guilds/${GUILD}`)
    await until(() => isAsked)
    const closed = server.close()
    await until(() =>
      fetch(`${server.url}/healthz`).then(
        () => false,
        () => true,
      ),
    )
    gate.resolve([{ n: 1, body: '{}' }])
    expect(await (await pending).text()).toBe('{}')
    await closed
  })

  test('close ends idle connections of both protocols at once', async () => {
    const server = await start()
    const session = connectHttp2(server.url)
    await once(session, 'connect')
    const agent = new Agent({ keepAlive: true })
    const [response] = (await once(get(`${server.url}/healthz`, { agent }), 'response')) as [
      NodeJS.ReadableStream,
    ]
    response.resume()
    await once(response, 'end')
    const silent = connect(Number(new URL(server.url).port), '127.0.0.1')
    await once(silent, 'connect')
    const startedAt = performance.now()
    await server.close()
    expect(performance.now() - startedAt).toBeLessThan(2000)
    agent.destroy()
    silent.destroy()
  })

  test('localhost is every loopback address', async () => {
    const { url } = await start({ address: 'localhost:0' })
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  test('an address in use names itself and the flag', async () => {
    const { url } = await start()
    const address = new URL(url).host
    await expect(start({ address })).rejects.toThrow(
      `[SERVER_CANNOT_LISTEN] Cannot listen on ${address}: another program listens there. Give another address by -addr.`,
    )
  })

  test.each(['8080', 'localhost', 'a:b', '127.0.0.1:65536', '::1:80', ''])(
    'the address %j is refused',
    async (address) => {
      await expect(start({ address })).rejects.toThrow('expected host:port')
    },
  )

  test('HEAD is answered without a body', async () => {
    const { url } = await start()
    const [response] = (await once(
      request(`${url}/healthz`, { method: 'HEAD' }).end(),
      'response',
    )) as [NodeJS.ReadableStream & { statusCode: number }]
    expect(response.statusCode).toBe(200)
    response.resume()
  })
})
