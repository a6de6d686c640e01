import {
  createConnection,
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { TcpProxy } from './harness/tcp-proxy.ts'

let echo: Server
let proxy: TcpProxy

beforeEach(async () => {
  echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
  await new Promise<void>((resolve) => {
    echo.listen(0, '127.0.0.1', resolve)
  })
  proxy = await TcpProxy.start((echo.address() as AddressInfo).port)
})

afterEach(async () => {
  await proxy.stop()
  echo.close()
})

function connect(): { socket: Socket; received: () => string; isClosed: () => boolean } {
  const socket = createConnection({ host: '127.0.0.1', port: proxy.port })
  let received = ''
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => (received += chunk.toString()))
  return { socket, received: () => received, isClosed: () => socket.closed }
}

describe('the proxy', () => {
  test('passes bytes both ways', async () => {
    const { socket, received } = connect()
    socket.write('one')
    await until(() => received() === 'one')
  })

  test('cut, resets what is open and what comes; healed, takes new connections', async () => {
    const first = connect()
    first.socket.write('one')
    await until(() => first.received() === 'one')
    proxy.cut()
    await until(first.isClosed)
    const second = connect()
    await until(second.isClosed)
    proxy.heal()
    const third = connect()
    third.socket.write('two')
    await until(() => third.received() === 'two')
  })

  test('mute, holds bytes without a word until it is healed', async () => {
    const first = connect()
    first.socket.write('one')
    await until(() => first.received() === 'one')
    proxy.mute()
    const second = connect()
    first.socket.write('two')
    second.socket.write('three')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([first.received(), second.received()]).toEqual(['one', ''])
    expect([first.isClosed(), second.isClosed()]).toEqual([false, false])
    proxy.heal()
    await until(() => first.received() === 'onetwo')
    await until(second.isClosed)
  })
})
