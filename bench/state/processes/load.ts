/** Keep-alive connections that each ask for one path after the other: what wrk does, without its Lua. */
import { connect, type Socket } from 'node:net'
import type { LoadOrder, LoadResult } from '../messages.ts'

const HEAD_END = '\r\n\r\n'
const STEP_MS = 0.05
const STEPS = 40_000

process.on('message', (order: LoadOrder) => {
  load(order).then(
    (result) => process.send!(result),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.send!('ready')

async function load({ port, paths, connections, seconds }: LoadOrder): Promise<LoadResult> {
  const requests = paths.map((path) => Buffer.from(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`))
  const delays = new Uint32Array(STEPS)
  let next = 0
  let count = 0
  let faults = 0
  let isEnding = false
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)))
  const start = performance.now()
  const ended = sockets.map(
    (socket) =>
      new Promise<void>((resolve, reject) => {
        let text = ''
        let askedAt = 0
        const ask = (): void => {
          askedAt = performance.now()
          socket.write(requests[next++ % requests.length]!)
        }
        socket.on('error', reject)
        socket.on('close', () => resolve())
        socket.on('data', (chunk: string) => {
          text += chunk
          const head = text.indexOf(HEAD_END)
          if (head === -1) return
          const length = /content-length: (\d+)/i.exec(text.slice(0, head))?.[1]
          const end = head + HEAD_END.length + Number(length ?? 0)
          if (text.length < end) return
          count++
          if (!text.startsWith('HTTP/1.1 200') || length === undefined || text.length > end)
            faults++
          delays[Math.min(STEPS - 1, Math.floor((performance.now() - askedAt) / STEP_MS))]!++
          text = ''
          if (isEnding) socket.end()
          else ask()
        })
        ask()
      }),
  )
  setTimeout(() => (isEnding = true), seconds * 1000)
  await Promise.all(ended)
  return {
    requests: count,
    seconds: (performance.now() - start) / 1000,
    p50Ms: at(delays, count * 0.5),
    p99Ms: at(delays, count * 0.99),
    faults,
  }
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket))
    socket.setEncoding('latin1').once('error', reject)
  })
}

function at(delays: Uint32Array, rank: number): number {
  let seen = 0
  for (let step = 0; step < STEPS; step++) {
    seen += delays[step]!
    if (seen >= rank) return (step + 0.5) * STEP_MS
  }
  return STEPS * STEP_MS
}
