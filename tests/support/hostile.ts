/** Connections of somebody who means harm, and how many of them: HOSTILE_CONNECTIONS, 400 without it. */
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'

export const HOSTILE_CONNECTIONS = Number(process.env['HOSTILE_CONNECTIONS'] ?? 400)

const ANSWER_MS_MAX = 1500

export class Attacker {
  readonly #sockets: Socket[] = []

  get open(): number {
    return this.#sockets.filter(({ destroyed }) => !destroyed).length
  }

  /** Sends this and waits; it is there until the other side closes it. */
  connect(port: number, bytes: string | Buffer = ''): Promise<Socket> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1')
      this.#sockets.push(socket)
      socket.on('error', () => resolve(socket))
      socket.on('data', () => undefined)
      socket.once('connect', () => {
        if (bytes.length > 0) socket.write(bytes)
        resolve(socket)
      })
    })
  }

  /** What comes back until the other side closes, at most for a while. */
  answerTo(port: number, bytes: string | Buffer): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
      this.#sockets.push(socket)
      let text = ''
      const timer = setTimeout(() => socket.destroy(), ANSWER_MS_MAX)
      socket.on('data', (data) => (text += data.toString('latin1')))
      socket.on('error', () => undefined)
      socket.once('close', () => {
        clearTimeout(timer)
        resolve(text)
      })
    })
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** HTTP/2 connections that break its rules: frames beyond the settings, of no type, before any SETTINGS; headers that are none. */
export function badHttp2(): Buffer[] {
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  const frame = (length: number, type: number): Buffer =>
    Buffer.concat([
      Buffer.from([length >> 16, (length >> 8) & 255, length & 255, type, 0, 0, 0, 0, 1]),
      Buffer.alloc(Math.min(length, 20_000), 0xff),
    ])
  return [frame(0xffffff, 0), frame(100, 0xee), frame(64, 1), frame(20_000, 4)].map((bytes) =>
    Buffer.concat([preface, bytes]),
  )
}

/** Resident memory of a process, in MiB. */
export function residentMib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}
