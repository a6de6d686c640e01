/** /openapi.json, made from the schemas that check the requests, and a page to try the routes. */
import swagger from '@fastify/swagger'
import reference from '@scalar/fastify-api-reference'
import type { FastifyInstance } from 'fastify'

/** The page asks no other host for anything, whatever its scripts would like. */
const PAGE_POLICY =
  "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'"

/** To be called before the routes are added. */
export async function describeRoutes(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'State', version, description: 'Guild state of a Discord bot.' },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{}, { bearer: [] }],
    },
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.url.startsWith('/docs')) void reply.header('content-security-policy', PAGE_POLICY)
    done(null, payload)
  })
  await app.register(reference, {
    routePrefix: '/docs',
    configuration: {
      url: '/openapi.json',
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
    },
  })
}
