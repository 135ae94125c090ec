package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tee passes bytes between clients and a server, and keeps the first of each connection.
type tee struct {
	addr, target string
	listener     net.Listener

	mu    sync.Mutex
	heard []*overheard
}

// overheard is one connection: what each side said.
type overheard struct{ asked, answered bounded }

// bounded keeps the first bytes that are written to it.
type bounded struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	const most = 64 << 20
	b.text = append(b.text, p[:min(len(p), most-len(b.text))]...)
	return len(p), nil
}

func (b *bounded) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.text)
}

func newTee(t *testing.T, target string) *tee {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &tee{addr: l.Addr().String(), target: target, listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go e.pass(conn)
		}
	}()
	return e
}

func (e *tee) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", e.target)
	if err != nil {
		return
	}
	defer out.Close()
	o := new(overheard)
	e.mu.Lock()
	e.heard = append(e.heard, o)
	e.mu.Unlock()
	go func() {
		_, _ = io.Copy(io.MultiWriter(out, &o.asked), in)
		_ = out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(io.MultiWriter(in, &o.answered), out)
}

// exchange is one request that was overheard, and its answer.
type exchanged struct {
	*http.Request
	asked []byte // the body, in the coding of aws-chunked if it has that
	*http.Response
	answered []byte // the body
	raw      []byte // the whole answer, as it came
}

// exchanges cuts what was overheard into requests and answers.
func (e *tee) exchanges() (all []exchanged) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.heard {
		requests := bufio.NewReader(bytes.NewReader(o.asked.bytes()))
		text := o.answered.bytes()
		left := bytes.NewReader(text)
		answers := bufio.NewReader(left)
		for {
			x, err := nextExchange(requests, answers, text, left)
			if err != nil {
				break
			}
			all = append(all, x)
		}
	}
	return all
}

func nextExchange(requests, answers *bufio.Reader, text []byte, left *bytes.Reader) (x exchanged, err error) {
	if x.Request, err = http.ReadRequest(requests); err != nil {
		return x, err
	}
	if x.asked, err = io.ReadAll(x.Request.Body); err != nil {
		return x, err
	}
	begin := len(text) - left.Len() - answers.Buffered()
	for x.Response == nil || x.Response.StatusCode < 200 {
		if x.Response, err = http.ReadResponse(answers, x.Request); err != nil {
			return x, err
		}
	}
	x.answered, err = io.ReadAll(x.Response.Body)
	x.raw = text[begin : len(text)-left.Len()-answers.Buffered()]
	return x, err
}

// corpus are seeds of fuzz functions.
type corpus struct {
	root  string // of the module
	scrub []string
	seeds map[string]map[string][]string // by function ("folder FuzzName") and kind
}

// Of each kind of traffic, so many are kept, and of each function so many, of at most so many
// bytes.
const (
	seedsOfAKind = 2
	seedsInAll   = 30
	largestSeed  = 4 << 10
)

// local is what stands for the tests' addresses, of the same length.
var local = regexp.MustCompile(`127\.0\.0\.1(:|%3A)\d+`)

// add adds a seed of a kind to a function. Its values are of the types that go fuzzes: string,
// []byte, int, bool, byte.
func (c *corpus) add(function, kind string, values ...any) {
	var b strings.Builder
	b.WriteString("go test fuzz v1\n")
	size := 0
	for _, value := range values {
		switch v := value.(type) {
		case string:
			fmt.Fprintf(&b, "string(%q)\n", c.clean(v))
			size += len(v)
		case []byte:
			fmt.Fprintf(&b, "[]byte(%q)\n", c.clean(string(v)))
			size += len(v)
		case byte:
			fmt.Fprintf(&b, "byte(%q)\n", v)
		default:
			fmt.Fprintf(&b, "%T(%v)\n", v, v)
		}
	}
	kinds := c.seeds[function]
	if kinds == nil {
		kinds = make(map[string][]string)
		c.seeds[function] = kinds
	}
	if text := b.String(); size <= largestSeed && len(kinds[kind]) < seedsOfAKind && !slices.Contains(kinds[kind], text) {
		kinds[kind] = append(kinds[kind], text)
	}
}

// clean replaces what belongs to the machine, by something as long.
func (c *corpus) clean(text string) string {
	for _, word := range c.scrub {
		text = strings.ReplaceAll(text, word, strings.Repeat("x", len(word)))
	}
	return local.ReplaceAllStringFunc(text, func(at string) string {
		port := strings.LastIndexAny(at, ":A") + 1
		return at[:port] + strings.Repeat("9", len(at)-port)
	})
}

// write puts the seeds where go finds them, in the place of those of an earlier run.
func (c *corpus) write(t *testing.T) {
	t.Helper()
	for function, kinds := range c.seeds {
		folder, name, _ := strings.Cut(function, " ")
		folder = filepath.Join(c.root, folder, "testdata", "fuzz", name)
		old, _ := filepath.Glob(filepath.Join(folder, "traffic-*"))
		for _, file := range old {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		written := make(map[string]bool)
		for round := range seedsOfAKind {
			for _, kind := range sortedKeys(kinds) {
				if round >= len(kinds[kind]) || len(written) >= seedsInAll {
					continue
				}
				text := kinds[kind][round]
				if strings.Contains(text, rootPassword) {
					t.Fatalf("%s: a secret is in a seed", function)
				}
				sum := sha256.Sum256([]byte(text))
				written["traffic-"+hex.EncodeToString(sum[:6])] = true
				if err := os.WriteFile(filepath.Join(folder, "traffic-"+hex.EncodeToString(sum[:6])), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%s: %d seeds of %d kinds", function, len(written), len(kinds))
	}
}

func sortedKeys(m map[string][]string) []string {
	all := make([]string, 0, len(m))
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}
