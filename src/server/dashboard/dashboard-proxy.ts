/** The dashboard of a worker at its parent's address: any worker shows the whole fleet. */
import { request as httpRequest } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { ServerError } from '../errors.ts'

const PATHS = ['/', '/dashboard/*']
const PASSED = ['accept', 'authorization', 'content-type', 'content-length']

/** @param workerUrl of a worker that listens now; null: there is none. */
export function addDashboardProxy(app: FastifyInstance, workerUrl: () => string | null): void {
  void app.register((scope, _options, done) => {
    // Bodies pass through as they are; the worker has its own bound.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, parsed) => parsed(null, payload))
    for (const url of PATHS) {
      scope.route({
        method: ['GET', 'POST'],
        url,
        exposeHeadRoute: false,
        handler: (request, reply) => {
          const target = workerUrl()
          if (target === null) {
            throw new ServerError('SERVER_BUSY', 'No worker listens at the moment.')
          }
          const headers = Object.fromEntries(
            PASSED.flatMap((name) => {
              const value = request.headers[name]
              return value === undefined ? [] : [[name, value]]
            }),
          )
          reply.hijack()
          const client = reply.raw
          const asked = httpRequest(
            new URL(request.url, target),
            { method: request.method, headers },
            (answer) => {
              const { connection: _hop, 'transfer-encoding': _coding, ...rest } = answer.headers
              client.writeHead(answer.statusCode ?? 502, rest)
              answer.pipe(client)
              answer.once('error', () => client.destroy())
            },
          )
          asked.once('error', () => client.destroy())
          client.once('close', () => asked.destroy())
          request.raw.pipe(asked)
        },
      })
    }
    done()
  })
}
