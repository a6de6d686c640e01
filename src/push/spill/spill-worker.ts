/**
 * The thread of the disk: the spills of all destinations of a process, so that the event loop that reads
 * sockets never waits for a disk. Entered by `new Worker` only.
 */
import { parentPort } from 'node:worker_threads'
import { messageOf } from '../../base/index.ts'
import { SpillFile } from './spill-file.ts'
import type { SpillAnswers, SpillRequest } from './spill-rows.ts'

export interface SpillMessage {
  readonly id: number
  /** Which spill of the process. */
  readonly spill: number
  readonly request: SpillRequest
}

export type SpillReply =
  | { readonly id: number; readonly answer: SpillAnswers[keyof SpillAnswers] }
  | { readonly id: number; readonly error: string; readonly code: string }

const files = new Map<number, SpillFile>()

parentPort?.on('message', ({ id, spill, request }: SpillMessage) => {
  try {
    const answer = handle(spill, request)
    const transfer = request.kind === 'read' ? [(answer as SpillAnswers['read']).bytes.buffer] : []
    parentPort?.postMessage({ id, answer } satisfies SpillReply, transfer as ArrayBuffer[])
  } catch (error) {
    const { code } = error as { code?: unknown }
    parentPort?.postMessage({
      id,
      error: messageOf(error),
      code: typeof code === 'string' ? code : '',
    } satisfies SpillReply)
  }
})

function handle(spill: number, request: SpillRequest): SpillAnswers[keyof SpillAnswers] {
  if (request.kind === 'open') {
    const file = new SpillFile(request)
    files.set(spill, file)
    return file.opened
  }
  const file = files.get(spill)
  if (file === undefined) throw new Error('the spill is not open')
  switch (request.kind) {
    case 'write':
      return file.write(request.rows, request.keptTo)
    case 'read':
      return file.read(request.eventsMax, request.bytesMax)
    case 'remove':
      file.remove(request.ids)
      return null
    case 'close':
      files.delete(spill)
      file.close(request.keepsFile)
      return null
  }
}
