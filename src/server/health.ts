/** What /healthz and /readyz answer: every check with its reason, 200 when all hold, 503 when one does not. */
import type { FastifyInstance } from 'fastify'

export interface HealthCheck {
  readonly isOk: boolean
  /** One sentence; where it is not ok, what is wrong. */
  readonly reason: string
  /** Numbers behind the sentence. */
  readonly details?: Readonly<Record<string, unknown>>
}

export type HealthChecks = Readonly<Record<string, HealthCheck>>

export interface Health {
  /** Whether the process works: a supervisor restarts one that does not. Never because of others. */
  live(): HealthChecks | Promise<HealthChecks>
  /** Whether it does its whole job at the moment. */
  ready(): HealthChecks | Promise<HealthChecks>
}

export function addHealthRoutes(app: FastifyInstance, health: Health, version: string): void {
  for (const [path, read] of [
    ['/healthz', () => health.live()],
    ['/readyz', () => health.ready()],
  ] as const) {
    app.get(path, async (_request, reply) => {
      const checks = await read()
      const isOk = Object.values(checks).every((check) => check.isOk)
      return reply
        .code(isOk ? 200 : 503)
        .header('cache-control', 'no-store')
        .send({
          status: isOk ? 'ok' : 'not ok',
          version,
          checks: Object.fromEntries(
            Object.entries(checks).map(([name, { isOk: ok, reason, details }]) => [
              name,
              { ok, reason, ...details },
            ]),
          ),
        })
    })
  }
}
