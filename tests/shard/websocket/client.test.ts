import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createHttpsServer } from 'node:https'
import { createSecureContext } from 'node:tls'
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocketServer, type WebSocket } from 'ws'
import { systemClock } from '../../../src/base/index.ts'
import { selfSigned } from '../../../sim/certificate.ts'
import { WebSocketClient } from '../../../src/shard/websocket/client.ts'
import { ReadTurns } from '../../../src/shard/websocket/read-turns.ts'
import { until } from '../../support/until.ts'
import { serverClose, serverFrame } from './server-frames.ts'

const { cert, key } = selfSigned(['localhost', '127.0.0.1'], Date.now())

class Peer {
  readonly messages: string[] = []
  readonly faults: string[] = []
  end: string | null = null
  onMessage(bytes: Buffer, start: number, end: number): void {
    this.messages.push(bytes.toString('latin1', start, end))
  }
  onFault(fault: string): void {
    this.faults.push(fault)
  }
  onClosed(closeCode: number, reason: string): void {
    this.end = `closed ${closeCode} ${reason}`
  }
  onUnreachable(message: string): void {
    this.end = `unreachable: ${message}`
  }
}

const clients: WebSocketClient[] = []
const closers: (() => void)[] = []

afterEach(() => {
  for (const client of clients.splice(0)) client.terminate()
  for (const close of closers.splice(0)) close()
})

function connect(
  url: string,
  options: { timeoutMs?: number; ca?: string; closeMs?: number; turns?: ReadTurns } = {},
): { client: WebSocketClient; peer: Peer } {
  const peer = new Peer()
  const client = new WebSocketClient(
    url,
    {
      userAgent: 'DiscordBot (test, 1)',
      messageBytesMax: 1 << 20,
      handshakeTimeoutMs: options.timeoutMs ?? 5000,
      closeTimeoutMs: options.closeMs ?? 1000,
      clock: systemClock,
      turns: options.turns ?? new ReadTurns(systemClock),
      secureContext: createSecureContext(options.ca === undefined ? {} : { ca: options.ca }),
    },
    peer,
  )
  clients.push(client)
  return { client, peer }
}

/** A server of the library `ws`, over TCP or TLS. */
async function wsServer(isTls: boolean): Promise<{ url: string; next: () => Promise<WebSocket> }> {
  const http = isTls ? createHttpsServer({ cert, key }) : null
  const server = new WebSocketServer(http === null ? { port: 0 } : { server: http })
  const arrived: WebSocket[] = []
  server.on('connection', (socket, request) => {
    socket.on('error', () => undefined)
    socket.send(`hello ${request.url} ${request.headers['user-agent']}`)
    arrived.push(socket)
  })
  if (http !== null) {
    http.listen(0)
    await once(http, 'listening')
  } else await once(server, 'listening')
  closers.push(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
    http?.close()
  })
  const { port } = (http ?? server).address() as AddressInfo
  return {
    url: `${isTls ? 'wss' : 'ws'}://localhost:${port}`,
    next: async () => {
      await until(() => arrived.length > 0)
      return arrived.shift()!
    },
  }
}

/** A server that says whatever a test gives it. */
async function rawServer(onRequest: (socket: Socket, accept: string) => void): Promise<string> {
  const sockets: Socket[] = []
  const server: Server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    let head = ''
    socket.on('data', (chunk) => {
      const wasWhole = head.includes('\r\n\r\n')
      head += chunk.toString('latin1')
      if (wasWhole || !head.includes('\r\n\r\n')) return
      const sent = /sec-websocket-key: (.+)\r\n/i.exec(head)![1]!
      const accept = createHash('sha1').update(`${sent}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      onRequest(socket, accept.digest('base64'))
    })
  })
  server.listen(0)
  await once(server, 'listening')
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const accepted = (accept: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`

describe.each([
  ['TCP', false],
  ['TLS', true],
] as const)('over %s', (_name, isTls) => {
  const options = isTls ? { ca: cert } : {}

  test('messages of every size go both ways', async () => {
    const server = await wsServer(isTls)
    const { client, peer } = connect(`${server.url}/?v=10&encoding=etf`, options)
    const socket = await server.next()
    await until(() => peer.messages.length === 1)
    expect(peer.messages[0]).toBe('hello /?v=10&encoding=etf DiscordBot (test, 1)')
    const received: string[] = []
    socket.on('message', (data: Buffer) => received.push(data.toString('latin1')))
    const sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000]
    for (const size of sizes) {
      socket.send(Buffer.alloc(size, 0x61))
      client.send(Buffer.alloc(size, 0x62), true)
    }
    await until(() => peer.messages.length === sizes.length + 1 && received.length === sizes.length)
    expect(peer.messages.slice(1).map((text) => text.length)).toEqual(sizes)
    expect(received).toEqual(sizes.map((size) => 'b'.repeat(size)))
    expect(peer.messages.slice(1).every((text) => /^a*$/.test(text))).toBe(true)
  })

  test('two connections at once do not mix their bytes', async () => {
    const server = await wsServer(isTls)
    const both = [connect(server.url, options), connect(server.url, options)]
    const sockets = [await server.next(), await server.next()]
    await until(() => both.every(({ peer }) => peer.messages.length === 1))
    const texts = ['x'.repeat(90_000), 'y'.repeat(90_000)]
    for (let round = 0; round < 20; round++) sockets.forEach((to, index) => to.send(texts[index]!))
    await until(() => both.every(({ peer }) => peer.messages.length === 21))
    const kinds = both.map(({ peer }) => new Set(peer.messages.slice(1)))
    expect(kinds.map((kind) => kind.size)).toEqual([1, 1])
    expect(kinds.flatMap((kind) => [...kind]).sort()).toEqual(texts)
  })

  test('a burst that does not fit in one turn of the loop is read in later ones, in order', async () => {
    const server = await wsServer(isTls)
    let ms = 0
    const turns = new ReadTurns({ ...systemClock, monotonic: () => (ms += 5) })
    const { peer } = connect(server.url, { ...options, turns })
    const socket = await server.next()
    await until(() => peer.messages.length === 1)
    const count = 4000
    for (let index = 0; index < count; index++) socket.send(String(index).padStart(1000, '0'))
    socket.close(4001, 'over')
    let read = 0
    let mostInOneTurn = 0
    while (peer.end === null) {
      await nextTurn()
      mostInOneTurn = Math.max(mostInOneTurn, peer.messages.length - read)
      read = peer.messages.length
    }
    expect(peer.messages.slice(1).map(Number)).toEqual(Array.from({ length: count }, (_, i) => i))
    expect(peer.end).toBe('closed 4001 over')
    // Two reads of 64 KiB, and what one read of TLS brings; libuv alone would go on for 32.
    expect(mostInOneTurn).toBeLessThanOrEqual(200)
  })

  test('what was kept for a later turn is read before the end is told', async () => {
    const server = await wsServer(isTls)
    let ms = 0
    const turns = new ReadTurns({ ...systemClock, monotonic: () => (ms += 100) })
    const { peer } = connect(server.url, { ...options, turns })
    const socket = await server.next()
    await until(() => peer.messages.length === 1)
    for (let index = 0; index < 300; index++) socket.send('x'.repeat(1000))
    socket.close(4004, 'bad token')
    await until(() => peer.end !== null)
    expect(peer.messages.length).toBe(301)
    expect(peer.end).toBe('closed 4004 bad token')
  })

  test.each([1000, 1001, 4000, 4009, 4014])(
    'the close code %i of the server arrives',
    async (code) => {
      const server = await wsServer(isTls)
      const { client, peer } = connect(server.url, options)
      const socket = await server.next()
      const answered = once(socket, 'close') as Promise<[number]>
      socket.close(code, 'because')
      await until(() => peer.end !== null)
      expect(peer.end).toBe(`closed ${code} because`)
      expect(client.isOpen).toBe(false)
      expect((await answered)[0]).toBe(code)
    },
  )

  test('a connection that breaks without a close frame is 1006', async () => {
    const server = await wsServer(isTls)
    const { peer } = connect(server.url, options)
    const socket = await server.next()
    await until(() => peer.messages.length === 1)
    socket.terminate()
    await until(() => peer.end !== null)
    expect(peer.end).toBe('closed 1006 ')
  })

  test('our close code reaches the server, and the end comes when it has answered', async () => {
    const server = await wsServer(isTls)
    const { client, peer } = connect(server.url, options)
    const socket = await server.next()
    await until(() => peer.messages.length === 1)
    const closed = once(socket, 'close') as Promise<[number]>
    client.close(4900)
    client.send(Buffer.from('too late'), true)
    expect((await closed)[0]).toBe(4900)
    await until(() => peer.end !== null)
    expect(peer.end).toBe('closed 4900 ')
  })

  test('a ping is answered with its payload', async () => {
    const server = await wsServer(isTls)
    connect(server.url, options)
    const socket = await server.next()
    const pong = once(socket, 'pong') as Promise<[Buffer]>
    socket.ping('are you there')
    expect((await pong)[0].toString()).toBe('are you there')
  })
})

test('a server that never answers our close is left after closeTimeoutMs', async () => {
  let opened = false
  const url = await rawServer((socket, accept) => {
    socket.write(accepted(accept))
    opened = true
  })
  const { client, peer } = connect(url, { closeMs: 50 })
  await until(() => opened && client.isOpen)
  client.close(4900)
  await until(() => peer.end !== null)
  expect(peer.end).toBe('closed 1006 ')
})

test('frames in the packet of the handshake are read', async () => {
  const url = await rawServer((socket, accept) => {
    const hello = serverFrame({ opcode: 2, payload: Buffer.from('hello') })
    socket.write(Buffer.concat([Buffer.from(accepted(accept)), hello, serverClose(4000, 'bye')]))
  })
  const { peer } = connect(url)
  await until(() => peer.end !== null)
  expect(peer.messages).toEqual(['hello'])
  expect(peer.end).toBe('closed 4000 bye')
})

test('a handshake that comes in single bytes is read', async () => {
  const url = await rawServer((socket, accept) => {
    const answer = Buffer.concat([
      Buffer.from(accepted(accept)),
      serverFrame({ opcode: 2, payload: Buffer.from('hello') }),
    ])
    const sendNext = (index: number): void => {
      if (index < answer.length)
        socket.write(answer.subarray(index, index + 1), () => sendNext(index + 1))
    }
    socket.setNoDelay(true)
    sendNext(0)
  })
  const { peer } = connect(url)
  await until(() => peer.messages.length === 1)
  expect(peer.messages).toEqual(['hello'])
})

test('a frame that is broken is said once, and the owner closes', async () => {
  let server: Socket | undefined
  const url = await rawServer((socket, accept) => {
    server = socket
    const broken = serverFrame({ opcode: 2, payload: Buffer.from('x'), isMasked: true })
    socket.write(Buffer.concat([Buffer.from(accepted(accept)), broken, broken]))
  })
  const { client, peer } = connect(url)
  await until(() => peer.faults.length > 0)
  client.close(4900)
  await once(server!, 'data')
  server!.end()
  await until(() => peer.end !== null)
  expect(peer.faults).toEqual(['protocol'])
})

describe('a handshake that fails is unreachable, with the reason', () => {
  test.each<[string, (socket: Socket, accept: string) => void, RegExp]>([
    [
      'status 503',
      (socket) => socket.end('HTTP/1.1 503 Unavailable\r\n\r\n'),
      /unexpected server response: 503/,
    ],
    [
      'a redirect',
      (socket) => socket.end('HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n'),
      /unexpected server response: 302/,
    ],
    ['no HTTP', (socket) => socket.end('SSH-2.0-OpenSSH\r\n\r\n'), /not HTTP/],
    [
      'the accept of another key',
      (socket) => socket.write(accepted('c2hhMQ==')),
      /Sec-WebSocket-Accept/,
    ],
    [
      'another upgrade',
      (socket, accept) =>
        socket.write(accepted(accept).replace('Upgrade: websocket', 'Upgrade: h2c')),
      /something else/,
    ],
    [
      'no Connection: Upgrade',
      (socket, accept) => socket.write(accepted(accept).replace('Connection: Upgrade\r\n', '')),
      /lacks Connection/,
    ],
    [
      'an extension that nobody asked for',
      (socket, accept) =>
        socket.write(
          accepted(accept).replace(
            '\r\n\r\n',
            '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
          ),
        ),
      /extension/,
    ],
    [
      'endless headers',
      (socket) => socket.write(`HTTP/1.1 101 X\r\nA: ${'b'.repeat(20_000)}`),
      /exceed/,
    ],
    ['an end without an answer', (socket) => socket.end(), /closed before it opened/],
    ['silence', () => undefined, /no handshake within 200 ms/],
  ])('%s', async (_name, answer, message) => {
    const url = await rawServer(answer)
    const { peer } = connect(url, { timeoutMs: 200 })
    await until(() => peer.end !== null)
    expect(peer.end).toMatch(/^unreachable: /)
    expect(peer.end).toMatch(message)
    expect(peer.messages).toEqual([])
  })

  test('a certificate that nobody vouches for', async () => {
    const server = await wsServer(true)
    const { peer } = connect(server.url)
    await until(() => peer.end !== null)
    expect(peer.end).toMatch(/^unreachable: .*self-signed certificate/)
  })

  test('nobody listens', async () => {
    const { peer } = connect('ws://127.0.0.1:1')
    await until(() => peer.end !== null)
    expect(peer.end).toMatch(/^unreachable: .*ECONNREFUSED/)
  })

  test('we close before it opened', async () => {
    const url = await rawServer(() => undefined)
    const { client, peer } = connect(url)
    client.close(4900)
    await until(() => peer.end !== null)
    expect(peer.end).toMatch(/^unreachable: /)
  })
})

test('what is no websocket URL is refused at once', () => {
  expect(() => connect('http://localhost/')).toThrow(SyntaxError)
  expect(() => connect('nonsense')).toThrow(TypeError)
})
