// Package strictjson reads JSON that two parties must not understand differently.
package strictjson

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Strings reads a JSON object whose values are all strings, and
// nothing else: encoding/json takes the last of repeated names, mends invalid
// UTF-8 and lone surrogates, and ignores the case of names, so that two parties
// may see different objects in the same bytes. Errors never quote values.
func Strings(text []byte) (map[string]string, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not valid UTF-8")
	}
	s := objectScanner{text: text}
	members := make(map[string]string)
	if !s.take('{') {
		return nil, s.fail("no JSON object")
	}
	if s.take('}') {
		return members, s.end()
	}
	for {
		name, err := s.quoted()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, s.fail("a name appears twice")
		}
		if !s.take(':') {
			return nil, s.fail("no colon after a name")
		}
		if members[name], err = s.quoted(); err != nil {
			return nil, err
		}
		if s.take('}') {
			return members, s.end()
		}
		if !s.take(',') {
			return nil, s.fail("neither comma nor end of the object")
		}
	}
}

type objectScanner struct {
	text []byte
	at   int
}

func (s *objectScanner) fail(what string) error {
	return fmt.Errorf("%s at byte %d", what, s.at)
}

// take skips white space, and c if it is next.
func (s *objectScanner) take(c byte) bool {
	s.skipSpace()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *objectScanner) skipSpace() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

func (s *objectScanner) end() error {
	if s.skipSpace(); s.at != len(s.text) {
		return s.fail("data after the object")
	}
	return nil
}

// quoted reads a string literal and returns what it stands for.
func (s *objectScanner) quoted() (string, error) {
	if !s.take('"') {
		return "", s.fail("no string")
	}
	var out []byte
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < ' ':
			return "", s.fail("control character in a string")
		case c != '\\':
			out = append(out, c)
		default:
			r, err := s.escaped()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", s.fail("string without an end")
}

// escaped reads what follows a backslash.
func (s *objectScanner) escaped() (rune, error) {
	if s.at == len(s.text) {
		return 0, s.fail("string without an end")
	}
	c := s.text[s.at]
	s.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.unicode()
	}
	return 0, s.fail("unknown escape")
}

// unicode reads the four digits after \u, and a second escape where they are
// the first half of a surrogate pair.
func (s *objectScanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.at+2 > len(s.text) || s.text[s.at] != '\\' || s.text[s.at+1] != 'u' {
		return 0, s.fail("half a surrogate pair")
	}
	s.at += 2
	low, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, s.fail("half a surrogate pair")
	}
	return r, nil
}

func (s *objectScanner) hex4() (rune, error) {
	if s.at+4 > len(s.text) {
		return 0, s.fail("short unicode escape")
	}
	var r rune
	for _, c := range s.text[s.at : s.at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.fail("unicode escape that is not hexadecimal")
		}
		r = r<<4 | rune(c)
	}
	s.at += 4
	return r, nil
}
