/**
 * The dashboard at `/`: a page without a build step or another host, one stream of snapshots for all who look, and the actions of an
 * operator, which need the admin token and are off without one.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { existsSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { type Clock, type Log, messageOf, type Secret, type Timer } from '../../base/index.ts'
import { BearerToken } from '../bearer-token.ts'
import { ServerError } from '../errors.ts'
import type { DashboardAction, DashboardSource } from './snapshot.ts'

/** Eyes on it at a time; each costs 25 KB a second with 10,000 shards. */
const VIEWERS_MAX = 50
const INTERVAL_MS = 1000
/** A viewer that does not take this much is gone. */
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024

/** Nothing but our own files; no frame of another page. The admin token cannot be sent elsewhere. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const

export interface DashboardOptions {
  readonly source: DashboardSource
  /** Null: actions are off. */
  readonly adminToken: Secret | null
}

export function addDashboard(
  app: FastifyInstance,
  options: DashboardOptions,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): void {
  const { source } = options
  const admin = options.adminToken === null ? null : new BearerToken(options.adminToken)
  const stream = new SnapshotStream(source, clock, log)
  app.addHook('preClose', (done) => {
    stream.close()
    done()
  })
  for (const { path, type, body } of pageFiles()) {
    app.get(path, (_request, reply) => {
      void reply.headers(HEADERS).header('cache-control', 'no-cache').type(type).send(body)
    })
  }
  app.get('/dashboard/stream', (request, reply) => {
    stream.requireRoom()
    reply.hijack()
    stream.add(reply.raw, () => request.raw.destroyed)
  })
  app.get<{ Params: { shard: number } }>(
    '/dashboard/shards/:shard',
    {
      schema: {
        params: { type: 'object', properties: { shard: { type: 'integer', minimum: 0 } } },
      },
    },
    async (request, reply) => {
      const { shard } = request.params
      const detail = await source.shard(shard)
      if (detail === null) throw new ServerError('SERVER_NOT_FOUND', `There is no shard ${shard}.`)
      return reply.header('cache-control', 'no-store').send(detail)
    },
  )
  app.post<{ Body: DashboardAction }>(
    '/dashboard/actions',
    {
      schema: {
        body: {
          type: 'object',
          required: ['action'],
          additionalProperties: false,
          properties: {
            action: { type: 'string', enum: ['restart', 'move', 'drain', 'undrain'] },
            shard: { type: 'integer', minimum: 0 },
            worker: { type: 'string', minLength: 1, maxLength: 300 },
          },
          allOf: [
            needs('restart', 'shard'),
            needs('move', 'shard', 'worker'),
            needs('drain', 'worker'),
            needs('undrain', 'worker'),
          ],
        },
      },
      // Before the body: whoever has no token is told nothing else.
      onRequest: (request, _reply, next) => {
        if (admin === null) {
          throw new ServerError(
            'SERVER_ACTIONS_OFF',
            'Actions are off: the gateway was started without -admin-token.',
          )
        }
        admin.require(request.headers.authorization)
        next()
      },
    },
    async (request, reply) => {
      await source.act(request.body)
      log.info('dashboard: action', { ...request.body, address: request.ip })
      return reply.code(204).send()
    },
  )
}

function needs(action: string, ...fields: string[]): object {
  return {
    if: { properties: { action: { const: action } } },
    // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's word
    then: { required: fields },
  }
}

/** One question a second however many look, none while nobody does. */
class SnapshotStream {
  readonly #source: DashboardSource
  readonly #clock: Clock
  readonly #log: Log
  readonly #viewers = new Set<ServerResponse>()
  #timer: Timer | undefined
  #isAsking = false
  #last: string | null = null

  constructor(source: DashboardSource, clock: Clock, log: Log) {
    this.#source = source
    this.#clock = clock
    this.#log = log
  }

  requireRoom(): void {
    if (this.#viewers.size >= VIEWERS_MAX) {
      throw new ServerError('SERVER_BUSY', `${VIEWERS_MAX} dashboards are open already.`)
    }
  }

  add(viewer: ServerResponse, isGone: () => boolean): void {
    viewer.writeHead(200, {
      ...HEADERS,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
    })
    viewer.on('error', () => undefined)
    viewer.once('close', () => {
      this.#viewers.delete(viewer)
      if (this.#viewers.size === 0) this.#rest()
    })
    if (isGone()) return
    this.#viewers.add(viewer)
    if (this.#last !== null) viewer.write(this.#last)
    if (this.#timer === undefined) void this.#ask()
  }

  close(): void {
    this.#rest()
    for (const viewer of this.#viewers) viewer.end()
  }

  #rest(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#last = null
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined
      if (this.#viewers.size > 0) void this.#ask()
    }, INTERVAL_MS)
    try {
      this.#send(`data: ${JSON.stringify(await this.#source.snapshot())}\n\n`)
    } catch (error) {
      this.#log.debug('dashboard: no snapshot', { error: messageOf(error) })
      this.#send(`event: failed\ndata: ${JSON.stringify(messageOf(error))}\n\n`)
    } finally {
      this.#isAsking = false
      if (this.#timer === undefined && this.#viewers.size > 0) void this.#ask()
    }
  }

  #send(text: string): void {
    this.#last = text
    for (const viewer of this.#viewers) {
      if (viewer.writableLength > BACKLOG_BYTES_MAX) viewer.destroy()
      else viewer.write(text)
    }
  }
}

interface PageFile {
  readonly path: string
  readonly type: string
  readonly body: Buffer
}

function pageFiles(): PageFile[] {
  const folder = dashboardFolder()
  const uplot = join(dirname(createRequire(import.meta.url).resolve('uplot')))
  const html = 'text/html; charset=utf-8'
  const css = 'text/css; charset=utf-8'
  const js = 'text/javascript; charset=utf-8'
  return [
    { path: '/', type: html, body: readFileSync(join(folder, 'index.html')) },
    {
      path: '/dashboard/dashboard.css',
      type: css,
      body: readFileSync(join(folder, 'dashboard.css')),
    },
    { path: '/dashboard/dashboard.js', type: js, body: readFileSync(join(folder, 'dashboard.js')) },
    { path: '/dashboard/uplot.css', type: css, body: readFileSync(join(uplot, 'uPlot.min.css')) },
    { path: '/dashboard/uplot.js', type: js, body: readFileSync(join(uplot, 'uPlot.iife.min.js')) },
  ]
}

/** Beside src in a clone, beside dist in an installed program. */
function dashboardFolder(): string {
  const candidates = ['../../../dashboard', '../../../../dashboard'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  return candidates.find((path) => existsSync(join(path, 'index.html'))) ?? candidates[0]!
}
