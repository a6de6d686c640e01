import { STATUS_CODES } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Clock, Log } from '../base/index.ts'
import { cannotListen, formatAddress, isLoopback, parseListenAddress } from './address.ts'
import { type BothHttp, createBothHttp } from './both-http.ts'
import { addDashboardProxy } from './dashboard/dashboard-proxy.ts'
import { addDashboard, type DashboardOptions } from './dashboard/dashboard-routes.ts'
import { addHealthRoutes, type Health } from './health.ts'
import { answerOf, sentenceOf, ServerError, toServerError } from './errors.ts'
import { AJV_OPTIONS } from './request-parameters.ts'
import { describeRoutes } from './openapi.ts'
import { buildStateRoutes, type StateRoutesOptions } from './state-routes.ts'

export interface HttpOptions {
  /** `host:port`, port 0 for a free one. */
  readonly address: string
  /** The flag that the address came from, for messages. */
  readonly flag: string
  readonly version: string
  readonly clock: Clock
  readonly log: Log
  /** With it /healthz and /readyz say how the process does; without, /healthz its version as the ancestor's does. */
  readonly health?: Health
  /** With it /metrics is served. */
  readonly metrics?: { readonly contentType: string; render(): Promise<string> }
  /** With it the dashboard is served at /. */
  readonly dashboard?: DashboardOptions
  /** Instead of the own one, that of a worker: its URL, null while there is none. */
  readonly dashboardOf?: () => string | null
  /** With it the State routes are served. */
  readonly state?: StateRoutesOptions
}

export interface HttpServer {
  /** `http://host:port`, with the port that was bound. */
  readonly url: string
  /** Accepts nothing more, finishes the requests under way, ends every connection. */
  close(): Promise<void>
}

/** A thousand ids; routes that write say more. */
const BODY_BYTES_MAX = 64 * 1024
/** What is still open then is cut: a client that reads a long list slowly. */
const CLOSE_TIMEOUT_MS = 5000

/**
 * Starts an HTTP listener: /healthz always, /metrics and State by options; HTTP/1.1 and cleartext HTTP/2.
 *
 * @throws ServerError SERVER_CANNOT_LISTEN
 */
export async function startHttpServer(options: HttpOptions): Promise<HttpServer> {
  const { host, port } = parseListenAddress(options.address, options.flag)
  const listeners: BothHttp[] = []
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    ajv: AJV_OPTIONS,
    routerOptions: { ignoreTrailingSlash: true },
    // Called again for each address of a name: `localhost` is 127.0.0.1 and ::1.
    serverFactory: (handler) => {
      const listener = createBothHttp(handler)
      listeners.push(listener)
      return listener.server
    },
  })
  const closeIdle = (): void => {
    for (const listener of listeners) listener.closeIdle()
  }
  let isClosing = false
  // An answer that was under way when the closing began leaves an idle connection behind.
  app.addHook('onResponse', (_request, _reply, done) => {
    if (isClosing) setImmediate(closeIdle)
    done()
  })
  answerErrors(app, options.log)
  const { health, metrics, state } = options
  if (health === undefined) {
    app.get('/healthz', (_request, reply) => {
      void reply.type('text/plain; charset=utf-8').send(`Version: ${options.version}`)
    })
  } else {
    addHealthRoutes(app, health, options.version)
  }
  if (metrics !== undefined) {
    app.get('/metrics', async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.render()),
    )
  }
  if (options.dashboardOf !== undefined) addDashboardProxy(app, options.dashboardOf)
  if (options.dashboard !== undefined) addDashboard(app, options.dashboard, options)
  if (state !== undefined) {
    await describeRoutes(app, options.version)
    await app.register(buildStateRoutes(state, options.log))
    if (state.readToken === undefined && !isLoopback(host)) {
      options.log.warn('State is open to everybody who reaches this address: give -read-token', {
        address: options.address,
      })
    }
  }
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    throw cannotListen(options.address, options.flag, error)
  }
  const bound = app.server.address()
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port
  return {
    url: `http://${formatAddress({ host, port: boundPort })}`,
    async close() {
      isClosing = true
      closeIdle()
      const cut = options.clock.setTimeout(() => {
        for (const listener of listeners) listener.destroy()
      }, CLOSE_TIMEOUT_MS)
      await app.close()
      options.clock.clearTimeout(cut)
    },
  }
}

/** Errors as a line of text like the ancestor's, or as problem details for whoever asks for them. */
function answerErrors(app: FastifyInstance, log: Log): void {
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]
    answer(
      request,
      reply,
      new ServerError('SERVER_NO_ROUTE', `There is no route ${request.method} ${path}.`),
    )
  })
  app.setErrorHandler((thrown: Error & { statusCode?: number }, request, reply) => {
    // fastify's own refusals: a body that is too large, a path that cannot be decoded.
    const refusal = thrown instanceof ServerError ? undefined : thrown.statusCode
    if (refusal !== undefined && refusal < 500) {
      send(request, reply, refusal, thrown.message, 'SERVER_BAD_REQUEST')
      return
    }
    const error = toServerError(thrown)
    if (error.code === 'SERVER_UNAUTHORIZED') void reply.header('www-authenticate', 'Bearer')
    if (error.code === 'SERVER_INTERNAL') {
      log.error('request failed', { method: request.method, path: request.url, error: thrown })
    }
    answer(request, reply, error)
  })
}

/** See [RFC 9457]. */
function answer(request: FastifyRequest, reply: FastifyReply, error: ServerError): void {
  const { httpStatus, retryAfterSeconds } = answerOf(error)
  if (retryAfterSeconds !== undefined) void reply.header('retry-after', retryAfterSeconds)
  send(request, reply, httpStatus, sentenceOf(error), error.code)
}

function send(
  request: FastifyRequest,
  reply: FastifyReply,
  httpStatus: number,
  detail: string,
  code: string,
): void {
  void reply.code(httpStatus)
  if (request.headers.accept?.includes('application/problem+json') === true) {
    const title = STATUS_CODES[httpStatus]
    void reply
      .type('application/problem+json')
      .send(JSON.stringify({ title, status: httpStatus, detail, code }))
  } else {
    void reply.type('text/plain; charset=utf-8').send(detail)
  }
}
