import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { GrpcFront } from '../../cmd/gateway/grpc-front.ts'
import { freePort } from '../support/server-process.ts'

const servers: Server[] = []
let front: GrpcFront | undefined

afterEach(async () => {
  await front?.close()
  for (const server of servers.splice(0)) server.close()
})

/** Answers with its name, then ends. */
async function worker(name: string): Promise<string> {
  const server = createServer((socket) => socket.end(name))
  servers.push(server)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

function ask(address: string): Promise<string> {
  const port = Number(address.split(':').at(-1))
  return new Promise((resolve) => {
    let text = ''
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(text))
  })
}

describe('one address for several workers', () => {
  test('gives connections to the workers in turn', async () => {
    const addresses = [await worker('one'), await worker('two')]
    front = await GrpcFront.start('127.0.0.1:0', () => addresses)
    const answers = [await ask(front.address), await ask(front.address), await ask(front.address)]
    expect(answers).toEqual(['one', 'two', 'one'])
  })

  test('passes over a worker that does not take the connection', async () => {
    const addresses = [`127.0.0.1:${await freePort()}`, await worker('two')]
    front = await GrpcFront.start('127.0.0.1:0', () => addresses)
    expect(await ask(front.address)).toBe('two')
  })

  test('ends a connection when no worker listens', async () => {
    front = await GrpcFront.start('127.0.0.1:0', () => [])
    expect(await ask(front.address)).toBe('')
  })
})
