package forwarded

import "strings"

// hop is one element of a Forwarded header: who sent the request to the proxy
// that wrote it, and by which protocol.
type hop struct{ by, proto string }

// parseForwarded reads a list of RFC 7239. ok is false if any of it is not as
// the standard has it: an open quote would swallow what follows.
func parseForwarded(values []string) (hops []hop, ok bool) {
	p := forwardedParser{rest: strings.Join(values, ",")}
	for {
		p.spaces()
		switch {
		case p.rest == "":
			return hops, true
		case p.take(','): // empty elements are allowed
			continue
		}
		h, ok := p.element()
		if !ok {
			return nil, false
		}
		hops = append(hops, h)
		p.spaces()
		if p.rest != "" && !p.take(',') {
			return nil, false
		}
	}
}

type forwardedParser struct{ rest string }

func (p *forwardedParser) spaces() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *forwardedParser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// element reads pairs separated by semicolons. A name may stand there once.
func (p *forwardedParser) element() (h hop, ok bool) {
	seen := make(map[string]bool, 4)
	for {
		name := strings.ToLower(p.token())
		if name == "" || !p.take('=') || seen[name] {
			return h, false
		}
		seen[name] = true
		value, ok := p.value()
		if !ok {
			return h, false
		}
		switch name {
		case "for":
			h.by = value
		case "proto":
			h.proto = value
		}
		p.spaces()
		if !p.take(';') {
			return h, true
		}
		p.spaces()
		if p.rest == "" || p.rest[0] == ',' {
			return h, true
		}
	}
}

// token reads the characters of an HTTP token.
func (p *forwardedParser) token() string {
	end := 0
	for end < len(p.rest) && isTokenByte(p.rest[end]) {
		end++
	}
	token := p.rest[:end]
	p.rest = p.rest[end:]
	return token
}

// value reads a token or a quoted string. Addresses of IPv4 with a port are
// accepted without their quotes too, as many proxies write them.
func (p *forwardedParser) value() (string, bool) {
	if !p.take('"') {
		value := p.token()
		if p.take(':') {
			value += ":" + p.token()
		}
		return value, value != ""
	}
	var b strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch c {
		case '"':
			return b.String(), true
		case '\\':
			if p.rest == "" {
				return "", false
			}
			c, p.rest = p.rest[0], p.rest[1:]
		}
		b.WriteByte(c)
	}
	return "", false
}

func isTokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
