/** The rival: fastify, and a prepared query for each request. */
import { fastify } from 'fastify'
import pg from 'pg'

const CONNECTIONS = 8

const pool = new pg.Pool({ connectionString: process.argv[2]!, max: CONNECTIONS })
const app = fastify()
app.get('/v1/events/guilds/:guild/members/:member', async (request, reply) => {
  const { guild, member } = request.params as { guild: string; member: string }
  const { rows } = await pool.query<{ body: string }>({
    name: 'member',
    text: 'select data::text as body from members where guild_id = $1 and user_id = $2',
    values: [guild, member],
  })
  if (rows[0] === undefined) return reply.code(404).send()
  return reply.type('application/json; charset=utf-8').send(rows[0].body)
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.send!(Number(new URL(url).port))
