// A token as an app's own server makes it: signed with a key of the project, good for some seconds.
import { createHmac } from 'node:crypto'

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')

// Of the key: kid, secret, project. Without `seconds` the token is good for an hour; `sub` and `jti` are the claims.
export function sign({ kid, secret, project, seconds = 3600, sub = 'app', jti }) {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { sub, jti, aud: `nuncio:${project}`, iat, exp: iat + seconds, nuncio: { subscribe: ['#'] } }
  const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid })}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
