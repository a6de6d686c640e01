/**
 * The routes of State: the ancestor's paths, parameters and shapes, and more (docs/state.md). One table
 * makes the routes, their checks and their description.
 */
import { Readable } from 'node:stream'
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import type { Log, Secret } from '../base/index.ts'
import type { StateKind } from '../discord/index.ts'
import {
  type BatchKind,
  type EditedTable,
  GUILD_CHILDREN,
  type Page,
  type StateEditor,
  type StateList,
  type StateReader,
} from '../cache/index.ts'
import { BearerToken } from './bearer-token.ts'
import { ServerError } from './errors.ts'
import {
  badRequest,
  IDS_PER_REQUEST_MAX,
  PAGE,
  type Schema,
  SNOWFLAKE,
  SNOWFLAKES,
  splitLists,
} from './request-parameters.ts'
import { ETF_TYPE, etagOf, formatOf, isEtf, isMatch, listBody, TermLists } from './state-body.ts'

/** Requests of State under way at a time; each holds at most a page of rows. */
const REQUESTS_MAX = 4096
/** A thousand objects of channels or members. */
const WRITE_BYTES_MAX = 8 * 1024 * 1024
const JSON_TYPE = 'application/json; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'

export interface StateRoutesOptions {
  readonly reader: StateReader
  /** With it, and a token for it, the writing routes work. */
  readonly editor?: StateEditor
  readonly readToken?: Secret
  readonly writeToken?: Secret
}

type Params = Readonly<Record<string, string>>
interface Query extends Page {
  readonly [name: string]: unknown
}
/** A body, null for not found, or a list. */
type Answer = string | null | StateList

interface ReadRoute {
  readonly path: string
  readonly summary: string
  readonly query?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  /** Reads the ids of a JSON body. */
  readonly isBatch?: boolean
  readonly isText?: boolean
  /** What must be cached. A list of a guild or a channel says whether it is whole of the first. */
  readonly kinds: readonly StateKind[]
  readonly read: (
    params: Params,
    query: Query,
    ids: readonly string[],
  ) => Promise<Answer> | StateList
}

const WITH: Schema = { type: 'array', items: { type: 'string', enum: GUILD_CHILDREN } }
const SHARD_PAGE = { ...PAGE, after: { type: 'string', pattern: '^[0-9]{1,9}$' } }
const IDS_BODY: Schema = { ...SNOWFLAKES, description: 'Ids, in the order of the answer.' }

function readRoutes(reader: StateReader): readonly ReadRoute[] {
  const byIds = { id: SNOWFLAKES, ...PAGE }
  type Kinds = StateKind | readonly StateKind[]
  const one = (
    path: string,
    kinds: Kinds,
    summary: string,
    read: ReadRoute['read'],
  ): ReadRoute => ({ path, kinds: [kinds].flat(), summary, read })
  const list = (
    path: string,
    kinds: Kinds,
    summary: string,
    read: ReadRoute['read'],
  ): ReadRoute => ({ ...one(path, kinds, summary, read), query: PAGE })
  const batch = (path: string, kind: BatchKind): ReadRoute => ({
    path,
    kinds: [kind === 'users' ? 'members' : kind],
    summary: `${kind} by ids, in their order; a missing one is marked is_empty`,
    isBatch: true,
    read: (p, _, ids) => reader.batch(kind, ids, p['guild']),
  })
  return [
    one('/users/:user', 'members', 'the newest user object of any member row', (p) =>
      reader.user(p['user']!),
    ),
    {
      path: '/users',
      kinds: ['members'],
      summary: 'user names by ids',
      query: { userIDs: SNOWFLAKES },
      required: ['userIDs'],
      read: (_, q) => reader.userNames(q['userIDs'] as string[]),
    },
    one('/channels/:channel', 'channels', 'a channel', (p) => reader.channel(p['channel']!)),
    one('/channels/:channel/messages/:message', [], 'a message', (p) =>
      reader.message(p['channel']!, p['message']!),
    ),
    one(
      '/channels/:channel/members/:member/permissions',
      ['guilds', 'channels', 'roles', 'members'],
      'what a member may do in a channel or thread',
      (p) => reader.permissions('channel', p['channel']!, p['member']!),
    ),
    list('/channels/:channel/threads', 'threads', 'threads by parent', (p, q) =>
      reader.channelThreads(p['channel']!, q),
    ),
    list('/guilds', 'guilds', 'ids of all guilds', (_, q) => reader.guilds(q)),
    {
      path: '/guilds/:guild',
      kinds: ['guilds'],
      summary: 'a guild, with children that are asked for',
      query: { with: WITH },
      read: (p, q) =>
        q['with'] === undefined
          ? reader.guild(p['guild']!)
          : reader.guildWith(p['guild']!, q['with'] as string[]),
    },
    one('/guilds/:guild/state', [], 'where the guild stands in its life', (p) =>
      reader.guildState(p['guild']!),
    ),
    one('/guilds/:guild/counts', 'guilds', 'rows of each kind', (p) =>
      reader.guildCounts(p['guild']!),
    ),
    list('/guilds/:guild/channels', 'channels', 'channels', (p, q) =>
      reader.guildChannels(p['guild']!, q),
    ),
    {
      path: '/guilds/:guild/members',
      kinds: ['members'],
      summary: 'members: all, by ids, or by a part of a name',
      query: { ...byIds, query: { type: 'string' } },
      read: (p, q) => {
        if (q['id'] !== undefined) return reader.membersById(p['guild']!, q['id'] as string[])
        const search = q['query']
        return typeof search === 'string'
          ? reader.membersMatching(p['guild']!, search, q)
          : reader.guildMembers(p['guild']!, q)
      },
    },
    list(
      '/guilds/:guild/members_with_role/:role',
      'members',
      'ids of the members of a role',
      (p, q) => reader.membersWithRole(p['guild']!, p['role']!, q),
    ),
    one('/guilds/:guild/members/:member', 'members', 'a member', (p) =>
      reader.member(p['guild']!, p['member']!),
    ),
    one('/guilds/:guild/members/:member/presence', 'presences', 'a presence', (p) =>
      reader.presence(p['guild']!, p['member']!),
    ),
    one(
      '/guilds/:guild/members/:member/permissions',
      ['guilds', 'roles', 'members'],
      'what a member may do in the guild',
      (p) => reader.permissions('guild', p['guild']!, p['member']!),
    ),
    {
      path: '/guilds/:guild/roles',
      kinds: ['roles'],
      summary: 'roles: all, or by ids',
      query: byIds,
      read: (p, q) =>
        q['id'] === undefined
          ? reader.guildRoles(p['guild']!, q)
          : reader.rolesById(p['guild']!, q['id'] as string[]),
    },
    one('/guilds/:guild/roles/:role', 'roles', 'a role', (p) =>
      reader.role(p['guild']!, p['role']!),
    ),
    list('/guilds/:guild/emojis', 'emojis', 'emojis', (p, q) => reader.guildEmojis(p['guild']!, q)),
    one('/guilds/:guild/emojis/:emoji', 'emojis', 'an emoji', (p) =>
      reader.emoji(p['guild']!, p['emoji']!),
    ),
    list('/guilds/:guild/stickers', 'stickers', 'stickers', (p, q) =>
      reader.guildStickers(p['guild']!, q),
    ),
    one('/guilds/:guild/stickers/:sticker', 'stickers', 'a sticker', (p) =>
      reader.sticker(p['guild']!, p['sticker']!),
    ),
    list('/guilds/:guild/bans', 'bans', 'bans', (p, q) => reader.guildBans(p['guild']!, q)),
    one('/guilds/:guild/bans/:user', 'bans', 'a ban', (p) => reader.ban(p['guild']!, p['user']!)),
    list('/guilds/:guild/presences', 'presences', 'presences of who is not offline', (p, q) =>
      reader.guildPresences(p['guild']!, q),
    ),
    list('/guilds/:guild/scheduled_events', 'scheduled_events', 'scheduled events', (p, q) =>
      reader.guildScheduledEvents(p['guild']!, q),
    ),
    one('/guilds/:guild/scheduled_events/:event', 'scheduled_events', 'a scheduled event', (p) =>
      reader.scheduledEvent(p['guild']!, p['event']!),
    ),
    list('/guilds/:guild/stage_instances', 'stage_instances', 'stage instances', (p, q) =>
      reader.guildStageInstances(p['guild']!, q),
    ),
    one('/guilds/:guild/stage_instances/:instance', 'stage_instances', 'a stage instance', (p) =>
      reader.stageInstance(p['guild']!, p['instance']!),
    ),
    list('/guilds/:guild/soundboard_sounds', 'soundboard_sounds', 'soundboard sounds', (p, q) =>
      reader.guildSoundboardSounds(p['guild']!, q),
    ),
    one('/guilds/:guild/soundboard_sounds/:sound', 'soundboard_sounds', 'a sound', (p) =>
      reader.soundboardSound(p['guild']!, p['sound']!),
    ),
    list('/guilds/:guild/voice_states', 'voice_states', 'voice states', (p, q) =>
      reader.guildVoiceStates(p['guild']!, q),
    ),
    one('/guilds/:guild/voice_states/:user', 'voice_states', 'a voice state', (p) =>
      reader.voiceState(p['guild']!, p['user']!),
    ),
    list('/guilds/:guild/threads', 'threads', 'threads of a guild', (p, q) =>
      reader.guildThreads(p['guild']!, q),
    ),
    {
      ...one('/guilds_count', 'guilds', 'how many guilds', () => reader.guildCount()),
      isText: true,
    },
    one('/counts', 'guilds', 'guilds, unavailable guilds, members as Discord counts them', () =>
      reader.counts(),
    ),
    list('/threads', 'threads', 'all threads', (_, q) => reader.threads(q)),
    one('/threads/:thread', 'threads', 'a thread', (p) => reader.thread(p['thread']!)),
    {
      path: '/shards',
      kinds: [],
      summary: 'shards, from their session rows',
      query: SHARD_PAGE,
      read: (_, q) => reader.shards(q),
    },
    {
      path: '/user_in_guilds',
      kinds: ['members'],
      summary: 'whether a user is in one of the guilds',
      query: { user_id: SNOWFLAKE, server_ids: SNOWFLAKES },
      required: ['user_id', 'server_ids'],
      read: async (_, q) => {
        const servers = q['server_ids'] as string[]
        return `{"exists":${await reader.isUserInGuilds(String(q['user_id']), servers)}}`
      },
    },
    {
      path: '/user_in_guilds_has_roles',
      kinds: ['members'],
      summary: 'whether a user is in one of the guilds and has one of the roles there',
      query: { user_id: SNOWFLAKE, server_ids: SNOWFLAKES, role_ids: SNOWFLAKES },
      required: ['user_id', 'server_ids', 'role_ids'],
      read: async (_, q) => {
        const servers = q['server_ids'] as string[]
        const roles = q['role_ids'] as string[]
        return `{"exists":${await reader.hasUserRoles(String(q['user_id']), servers, roles)}}`
      },
    },
    batch('/batch/channels', 'channels'),
    batch('/batch/guilds', 'guilds'),
    batch('/batch/threads', 'threads'),
    batch('/batch/users', 'users'),
    batch('/batch/guilds/:guild/members', 'members'),
    batch('/batch/guilds/:guild/roles', 'roles'),
  ]
}

/** A fastify plugin with the State routes; both programs register it. */
export function buildStateRoutes(options: StateRoutesOptions, log: Log): FastifyPluginCallback {
  const { reader, readToken } = options
  const token = readToken === undefined ? null : new BearerToken(readToken)
  let requestCount = 0
  const terms = new TermLists()
  return (app, _options, done) => {
    app.setSchemaErrorFormatter((errors) => badRequest(errors))
    for (const route of readRoutes(reader)) {
      const query = route.query ?? {}
      app.route({
        method: route.isBatch === true ? 'POST' : 'GET',
        url: `/v1/events${route.path}`,
        // Without HEAD: it would read a whole list to answer with nothing.
        exposeHeadRoute: false,
        schema: {
          summary: route.summary,
          tags: ['read'],
          params: paramsOf(route.path),
          querystring: { type: 'object', properties: query, required: [...(route.required ?? [])] },
          ...(route.isBatch === true ? { body: IDS_BODY } : {}),
        },
        onRequest: (request, _reply, next) => {
          token?.require(request.headers.authorization)
          next()
        },
        preValidation: (request, _reply, next) => {
          splitLists(request.query as Record<string, unknown>, query)
          next()
        },
        handler: (request, reply) => answer(route, request, reply),
      })
    }
    addWriteRoutes()
    done()

    async function answer(
      route: ReadRoute,
      request: FastifyRequest,
      reply: FastifyReply,
    ): Promise<unknown> {
      if (requestCount >= REQUESTS_MAX) {
        throw new ServerError('SERVER_BUSY', 'Too many requests are under way.')
      }
      requestCount++
      let isStreamed = false
      try {
        const params = request.params as Params
        const format = formatOf(route.isText === true ? undefined : request.headers.accept)
        const query = request.query as Query
        await requireKept(query['with'] as readonly StateKind[] | undefined, route.kinds)
        // Before the rows: what is said of them is true of them.
        const [asOf, isComplete] = await Promise.all([
          reader.asOf(params['guild'] ?? null),
          completeness(route, params, query),
        ])
        const found = await route.read(params, query, request.body as string[])
        if (found === null) {
          throw new ServerError('SERVER_NOT_FOUND', `Not found: ${request.url.split('?')[0]}`)
        }
        const { body, next } =
          typeof found === 'string'
            ? { body: format.whole(found), next: null }
            : isEtf(format)
              ? await terms.read(found)
              : await listBody(found, log)
        if (isComplete !== null) void reply.header('x-complete', String(isComplete))
        if (asOf !== null) void reply.header('x-as-of', asOf.toISOString())
        if (next !== null) void reply.header('link', `<${nextUrl(request.url, next)}>; rel="next"`)
        const jsonType = route.isText === true ? TEXT_TYPE : JSON_TYPE
        void reply
          .header('vary', 'accept')
          .header('content-type', isEtf(format) ? ETF_TYPE : jsonType)
        if (body instanceof Readable) {
          isStreamed = true
          body.once('close', () => requestCount--)
          return body
        }
        const etag = etagOf(body)
        void reply.header('etag', etag)
        if (isMatch(request.headers['if-none-match'], etag)) return reply.code(304).send()
        return body
      } finally {
        if (!isStreamed) requestCount--
      }
    }

    async function requireKept(...kinds: (readonly StateKind[] | undefined)[]): Promise<void> {
      for (const kind of kinds.flatMap((some) => some ?? [])) {
        // The bot's own member, under its own name.
        const needed = (kind as string) === 'me' ? 'members' : kind
        if (await reader.isKept(needed)) continue
        throw new ServerError(
          'SERVER_NOT_CACHED',
          `The gateway does not cache ${needed}: start it with ${needed} in -cache.`,
          { kind: needed },
        )
      }
    }

    /** Of a list of one guild or channel; null for any other answer. */
    async function completeness(
      route: ReadRoute,
      params: Params,
      query: Query,
    ): Promise<boolean | null> {
      const { guild, channel } = params
      const [kind] = route.kinds
      const isList = route.query?.['after'] !== undefined && query['id'] === undefined
      if (!isList || kind === undefined) return null
      if (guild !== undefined) return reader.isComplete(kind, 'guild', guild)
      return channel === undefined ? null : reader.isComplete(kind, 'channel', channel)
    }

    function addWriteRoutes(): void {
      const { editor } = options
      const writer = options.writeToken === undefined ? null : new BearerToken(options.writeToken)
      const bodies = new WeakMap<object, string>()
      void app.register((scope, _none, ready) => {
        scope.removeContentTypeParser('application/json')
        // The text is kept: Postgres reads its numbers exactly.
        scope.addContentTypeParser(
          'application/json',
          { parseAs: 'string' },
          (_request, text, parsed) => {
            try {
              const value: unknown = JSON.parse(text as string)
              if (typeof value === 'object' && value !== null) bodies.set(value, text as string)
              parsed(null, value)
            } catch {
              parsed(new ServerError('SERVER_BAD_REQUEST', 'The body is not JSON.'))
            }
          },
        )
        const write = (
          method: 'POST' | 'DELETE',
          path: string,
          summary: string,
          body: Schema | null,
          run: (to: StateEditor, guildId: string, body: object) => Promise<void>,
        ): void => {
          scope.route({
            method,
            url: `/v1/events/guilds/:guild${path}`,
            bodyLimit: WRITE_BYTES_MAX,
            schema: {
              summary,
              tags: ['write'],
              hide: writer === null,
              params: paramsOf('/:guild'),
              ...(body === null ? {} : { body }),
            },
            onRequest: (request, _reply, next) => {
              if (writer === null || editor === undefined) {
                throw new ServerError(
                  'SERVER_WRITING_OFF',
                  'Writing is off: it needs the program to be started with -write-token.',
                )
              }
              writer.require(request.headers.authorization)
              next()
            },
            handler: async (request, reply) => {
              await run(editor!, (request.params as Params)['guild']!, request.body as object)
              return reply.type(TEXT_TYPE).send('')
            },
          })
        }
        const objects: Schema = {
          type: 'object',
          maxProperties: IDS_PER_REQUEST_MAX,
          propertyNames: SNOWFLAKE,
          additionalProperties: { type: 'object' },
        }
        for (const table of ['roles', 'members', 'channels'] satisfies EditedTable[]) {
          write(
            'POST',
            `/${table}`,
            `inserts or replaces ${table} by id`,
            objects,
            (to, id, body) => to.put(table, id, Object.keys(body), bodies.get(body)!),
          )
        }
        for (const table of ['roles', 'channels'] satisfies EditedTable[]) {
          write('DELETE', `/${table}/delete`, `deletes ${table} by id`, IDS_BODY, (to, id, body) =>
            to.remove(table, id, body as string[]),
          )
          write('DELETE', `/${table}/wipe`, `deletes all ${table}`, null, (to, id) =>
            to.wipe(table, id),
          )
        }
        ready()
      })
    }
  }
}

function paramsOf(path: string): Schema {
  const names = path.split('/').filter((part) => part.startsWith(':'))
  const properties = Object.fromEntries(names.map((name) => [name.slice(1), SNOWFLAKE]))
  return { type: 'object', properties, required: Object.keys(properties) }
}

function nextUrl(url: string, after: string): string {
  const [path, search] = url.split('?')
  const query = new URLSearchParams(search)
  query.set('after', BigInt.asUintN(64, BigInt(after)).toString())
  return `${path}?${query.toString()}`
}
