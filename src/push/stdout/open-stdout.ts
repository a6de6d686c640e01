import { fstatSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

const STDOUT = 1

/**
 * Standard output for data. Of a pipe process.stdout waits inside write() until the reader has read, which would
 * stop every shard; a socket of our own on the same descriptor does not.
 *
 * @see https://nodejs.org/api/process.html#a-note-on-process-io
 */
export function openStdout(): Writable {
  const stat = fstatSync(STDOUT)
  if (!stat.isFIFO() && !stat.isSocket()) return process.stdout
  return new Socket({ fd: STDOUT, readable: false, writable: true })
}
