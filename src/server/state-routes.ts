/**
 * The read routes of State, with the ancestor's paths, parameters and shapes (docs/state.md).
 */
import { Readable } from 'node:stream'
import type { FastifyPluginCallback } from 'fastify'
import type { Log } from '../base/index.ts'
import type { JsonList, StateReader } from '../cache/index.ts'
import { ServerError } from './errors.ts'
import {
  type Query,
  requireSnowflake,
  requireSnowflakes,
  single,
  snowflakes,
} from './request-parameters.ts'

/** Requests of State under way at a time; each holds at most a page of rows. */
const REQUESTS_MAX = 4096
const JSON_TYPE = 'application/json; charset=utf-8'

type Params = Readonly<Record<string, string>>
/** A body, null for not found, or a list. */
type Answer = string | null | JsonList
type Read = (params: Params, query: Query) => Promise<Answer> | JsonList

/** Path under /v1/events → what it reads. Every parameter of a path is a snowflake. */
function stateReads(reader: StateReader): Readonly<Record<string, Read>> {
  return {
    '/users/:user': (p) => reader.user(p.user!),
    '/users': (_, q) => reader.userNames(requireSnowflakes(q, 'userIDs')),
    '/channels/:channel': (p) => reader.channel(p.channel!),
    '/channels/:channel/messages/:message': (p) => reader.message(p.channel!, p.message!),
    '/channels/:channel/threads': (p) => reader.channelThreads(p.channel!),
    '/guilds/:guild': (p) => reader.guild(p.guild!),
    '/guilds/:guild/channels': (p) => reader.guildChannels(p.guild!),
    '/guilds/:guild/members': (p, q) => {
      const ids = snowflakes(q, 'id')
      if (ids !== null) return reader.membersById(p.guild!, ids)
      const search = single(q, 'query')
      return search === undefined
        ? reader.guildMembers(p.guild!)
        : reader.membersMatching(p.guild!, search)
    },
    '/guilds/:guild/members_with_role/:role': (p) => reader.membersWithRole(p.guild!, p.role!),
    '/guilds/:guild/members/:member': (p) => reader.member(p.guild!, p.member!),
    '/guilds/:guild/members/:member/presence': (p) => reader.presence(p.guild!, p.member!),
    '/guilds/:guild/roles': (p, q) => {
      const ids = snowflakes(q, 'id')
      return ids === null ? reader.guildRoles(p.guild!) : reader.rolesById(p.guild!, ids)
    },
    '/guilds/:guild/roles/:role': (p) => reader.role(p.guild!, p.role!),
    '/guilds/:guild/emojis': (p) => reader.guildEmojis(p.guild!),
    '/guilds/:guild/emojis/:emoji': (p) => reader.emoji(p.guild!, p.emoji!),
    '/guilds/:guild/threads': (p) => reader.guildThreads(p.guild!),
    '/guilds_count': () => reader.guildCount(),
    '/threads': () => reader.threads(),
    '/threads/:thread': (p) => reader.thread(p.thread!),
    '/user_in_guilds': async (_, q) => {
      const exists = await reader.isUserInGuilds(
        requireSnowflake('user_id', single(q, 'user_id') ?? ''),
        requireSnowflakes(q, 'server_ids'),
      )
      return `{"exists":${exists}}`
    },
    '/user_in_guilds_has_roles': async (_, q) => {
      const exists = await reader.hasUserRoles(
        requireSnowflake('user_id', single(q, 'user_id') ?? ''),
        requireSnowflakes(q, 'server_ids'),
        requireSnowflakes(q, 'role_ids'),
      )
      return `{"exists":${exists}}`
    },
  }
}

/** A fastify plugin with the State routes; both programs register it. */
export function buildStateRoutes(reader: StateReader, log: Log): FastifyPluginCallback {
  let requestCount = 0
  return (app, _options, done) => {
    for (const [path, read] of Object.entries(stateReads(reader))) {
      const contentType = path === '/guilds_count' ? 'text/plain; charset=utf-8' : JSON_TYPE
      // Without HEAD: it would read a whole list to answer with nothing.
      app.get(`/v1/events${path}`, { exposeHeadRoute: false }, async (request, reply) => {
        if (requestCount >= REQUESTS_MAX) {
          throw new ServerError('SERVER_BUSY', 'Too many requests are under way.')
        }
        requestCount++
        let isStreamed = false
        try {
          const params = request.params as Params
          for (const [name, value] of Object.entries(params)) requireSnowflake(name, value)
          const answer = await read(params, request.query as Query)
          const body =
            answer === null || typeof answer === 'string' ? answer : await listBody(answer, log)
          if (body === null) {
            throw new ServerError('SERVER_NOT_FOUND', `Not found: ${request.url.split('?')[0]}`)
          }
          void reply.header('content-type', contentType)
          if (typeof body !== 'string') {
            isStreamed = true
            body.once('close', () => requestCount--)
          }
          return body
        } finally {
          if (!isStreamed) requestCount--
        }
      })
    }
    done()
  }
}

/**
 * A list that fits in one page is answered whole, with its length; a longer one is streamed at the speed
 * of its reader. A database that fails before the second page is still an error with a status.
 */
async function listBody(list: JsonList, log: Log): Promise<string | Readable> {
  const first = await list.next()
  if (first.done === true) return '[]'
  const second = await list.next()
  if (second.done === true) return first.value
  return Readable.from(
    (async function* () {
      yield first.value
      yield second.value
      try {
        yield* list
      } catch (error) {
        // The status is sent: the body ends without its bracket and the connection is reset.
        log.error('a list broke off in the middle of its answer', { error })
        throw error
      } finally {
        await list.return()
      }
    })(),
    { highWaterMark: 1 },
  )
}
