/** The control endpoint: what happened, what the world is like, and faults. Meant for tests and people. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf } from '../src/base/index.ts'
import { SimError } from './errors.ts'
import { FAULTS, readFault } from './faults.ts'
import { jsonBodyOf } from './json-body.ts'
import type { LedgerEvent } from './ledger.ts'
import { sendJson } from './rest.ts'
import type { Sim } from './sim.ts'
import { toJson } from './wire/value.ts'

/** Lines of NDJSON written between two looks at the reader. */
const LINES_PER_WRITE = 200

/** @returns false when the path is not one of these routes. */
export function answerControl(
  sim: Sim,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const url = URL.parse(request.url ?? '/', 'http://sim')
  if (url === null || !url.pathname.startsWith('/control/')) return false
  const route = `${request.method} ${url.pathname.slice('/control'.length)}`
  answer(sim, route, url.searchParams, request, response).catch((error: unknown) => {
    const status = error instanceof SimError ? 400 : 500
    if (!response.headersSent) sendJson(response, status, { message: messageOf(error) })
    else response.destroy()
  })
  return true
}

async function answer(
  sim: Sim,
  route: string,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { ledger } = sim
  switch (route) {
    case 'GET /ledger':
      return streamLedger(sim, query, response)
    case 'GET /world':
      return sendJson(response, 200, sim.world.snapshot())
    case 'GET /stats':
      return sendJson(response, 200, sim.stats())
    case 'GET /gaps':
      return sendJson(response, 200, ledger.gaps())
    case 'GET /ends':
      return sendJson(response, 200, ledger.ends)
    case 'GET /identifies':
      return sendJson(response, 200, ledger.identifies)
    case 'GET /resumes':
      return sendJson(response, 200, ledger.resumes)
    case 'GET /closes':
      return sendJson(response, 200, ledger.closes)
    case 'GET /sessions':
      return sendJson(response, 200, sessionsOf(sim))
    case 'GET /faults':
      return sendJson(response, 200, FAULTS)
    case 'POST /fault':
      sim.fault(readFault(await jsonBodyOf(request)))
      return sendJson(response, 200, { ok: true })
    case 'POST /message': {
      const { content } = await jsonBodyOf(request)
      if (typeof content !== 'string' || content === '') {
        throw new SimError(
          'SIM_BAD_OPTION',
          'The body is not an object such as {"content": "ping"}.',
        )
      }
      const event = sim.writeMessage(null, content)
      return sendJson(response, 200, event === null ? null : event.d)
    }
    case 'POST /pause':
      sim.pause()
      return sendJson(response, 200, sim.stats())
    case 'POST /resume':
      sim.resume()
      return sendJson(response, 200, sim.stats())
    case 'POST /rate':
      sim.setRate(countOf(query, 'rate', 0))
      return sendJson(response, 200, { rate: sim.rate })
    case 'POST /step':
      sim.step(countOf(query, 'count', 1))
      return sendJson(response, 200, sim.stats())
    default:
      return sendJson(response, 404, { message: `There is no ${route} under /control.` })
  }
}

/**
 * NDJSON, one event a line, oldest first; `shard`, `session` and `after` (the last line's n) narrow it,
 * `bytes=1` adds `d` as base64 of the ETF term without version byte.
 */
async function streamLedger(
  sim: Sim,
  query: URLSearchParams,
  response: ServerResponse,
): Promise<void> {
  const shard = query.has('shard') ? countOf(query, 'shard', 0) : undefined
  const session = query.get('session')
  const after = countOf(query, 'after', 0)
  const wantsBytes = query.get('bytes') === '1'
  response.writeHead(200, {
    'content-type': 'application/x-ndjson',
    'x-ledger-dropped': String(sim.ledger.dropped),
  })
  let lines: string[] = []
  const events = sim.ledger.events({
    after,
    ...(shard === undefined ? {} : { shard }),
    ...(session === null ? {} : { session }),
  })
  for (const event of events) {
    lines.push(lineOf(event, wantsBytes))
    if (lines.length < LINES_PER_WRITE) continue
    if (!response.write(lines.join(''))) {
      await new Promise<void>((resolve) => {
        response.once('drain', resolve).once('close', resolve)
      })
    }
    if (response.destroyed) return
    lines = []
  }
  response.end(lines.join(''))
}

function lineOf(event: LedgerEvent, wantsBytes: boolean): string {
  const { d, ...fields } = event
  return `${toJson(wantsBytes ? { ...fields, d: d?.toString('base64') ?? null } : fields)}\n`
}

function sessionsOf(sim: Sim): unknown[] {
  return sim.sessions.map((session) => ({
    id: session.id,
    shard: session.shardId,
    shard_count: session.shardCount,
    intents: session.view.intents,
    query: session.query,
    sequence: session.sequence,
    last_sent: session.lastSent,
    confirmed: session.confirmed,
    connected: session.reader !== null,
  }))
}

function countOf(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name)
  if (text === null) return fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new SimError('SIM_BAD_OPTION', `${name} must be a whole number, not ${text}.`)
  }
  return value
}
