import { BaseError } from '../base/index.ts'

export const CONFIG_ERRORS = {
  CONFIG_ENCODING_UNSAID:
    'The database was adopted from tatsuworks/gateway, and nothing says in which form its bots shall get their events. -encoding json is what they got on Postgres, etf-bare what they got on FoundationDB, etf what this program pushes by default.',
  CONFIG_UNKNOWN_FLAG:
    'A flag is not known to this program. The message names the nearest one; -help lists all.',
  CONFIG_UNKNOWN_COMMAND:
    'gatewayctl was given no command, or one that it does not know. The message names all; -help explains them.',
  CONFIG_BAD_ARGUMENT:
    'An argument of a command of gatewayctl is missing, too many or cannot be used. The message says what is expected.',
  CONFIG_BAD_VALUE:
    'The value of a flag or an environment variable cannot be used. The message says what is expected.',
  CONFIG_WORKERS_EMBEDDED:
    'The embedded store is opened by one process at a time. Several workers need -psql and -etcd; leave -workers away for one.',
  CONFIG_WORKERS_WITHOUT_ETCD:
    'Several workers share the shards by etcd. Give -etcd, or leave -workers away.',
  CONFIG_MISSING_VALUE:
    'A flag that needs a value came without one. Write -flag value or -flag=value.',
  CONFIG_MEMBERS:
    '-members asks for member lists that Discord does not send without the intent GUILD_MEMBERS, or that -cache does not keep. Add the intent (it is privileged: switch it on in the Developer Portal too) and `members`, or leave -members away.',
  CONFIG_NO_TOKEN:
    "There is no bot token. Give it by -token-file, DISCORD_TOKEN or -token; it stands in Discord's Developer Portal under Bot.",
  CONFIG_BAD_TOKEN:
    "The token does not have the form of a bot's token: three parts with dots between, the first of them the bot's user id in base64. Copy it again from the Developer Portal.",
  CONFIG_TOKEN_FILE:
    'The file named by -token-file cannot be read. Check the path and its permissions.',
  CONFIG_ETCD_WITHOUT_PSQL:
    'Workers that share shards by etcd keep sessions, fences and identifies in one Postgres. Give -psql beside -etcd, or leave -etcd away.',
  CONFIG_DESTINATIONS_FILE:
    'The file of -destinations cannot be read. The message says where (file:line:column) and what is expected there; docs/consumers.md describes the file.',
  CONFIG_UNKNOWN_KEY:
    'A key in the file of -destinations is not known. The message says where, and names the nearest one.',
  CONFIG_UNKNOWN_EVENT:
    'A name in a list of `events` in the file of -destinations is no event of Discord. The message names the nearest one; without `events` every event is pushed, new ones included.',
  CONFIG_DUPLICATE_DESTINATION:
    'Two destinations have the same name or go to the same place, which would get each event twice. Leave one away, or give another prefix.',
  CONFIG_DESTINATIONS_TWICE:
    'The destinations were given in two ways. Give one of -destinations, -stdout, -redis and MULTI_REDIS; the flags of form and size stay defaults for the file.',
  CONFIG_STDOUT_WORKERS:
    'Worker processes have no standard output of their own: their lines are the log of their parent. Run one process for -stdout, or send the events elsewhere.',
  CONFIG_MULTI_REDIS:
    'MULTI_REDIS cannot be read. It is a JSON object of address and event names; an empty array takes WHITELIST_EVENTS.',
} as const

export class ConfigError extends BaseError<keyof typeof CONFIG_ERRORS> {
  override readonly name = 'ConfigError'
}
