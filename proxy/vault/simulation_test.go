package vault_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/storage/simulation"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// The simulation: clients of two proxies write, read, copy, upload, delete and list a few
// objects, in an order that follows from a seed, while calls to the storage fail, come too
// late or break off, clients leave and proxies die. What the clients were told must be
// explained by an order of what they did (simulation.History), and DESIGN's promises are
// looked at after every step, and once everything is calm.

const (
	// simSeeds is how many seeds every run tries, simLiars those over a storage that lies;
	// BUCKETSEAL_SIM_SEEDS sets another number.
	simSeeds = 100
	simLiars = 60
	// simWorkers and simOps are the clients at a time and what each of them does.
	simWorkers = 4
	simOps     = 9
	// sweepAge is how old what is swept must be.
	sweepAge = 10 * time.Minute
)

// simChances are those of what goes wrong, by the seed's remainder: seeds without any are
// among them.
var simChances = []simulation.Chances{
	{},
	{Fail: 10, Cut: 10},
	{Fail: 5, Late: 20, Leave: 10},
	{Crash: 8, Late: 5},
	{Fail: 20, Late: 10, Cut: 20, Leave: 10, Crash: 8},
}

// TestSimulation tries many seeds. BUCKETSEAL_SIM_SEED runs one, and shows its steps.
func TestSimulation(t *testing.T) { manySeeds(t, simSeeds, false) }

// TestSimulationOfLies is TestSimulation over a storage that lies: it flips, swaps, plants,
// hides and rolls back. It gets denial of service for that. What is read, if it can be read,
// is what somebody wrote under that name.
func TestSimulationOfLies(t *testing.T) { manySeeds(t, simLiars, true) }

func manySeeds(t *testing.T, seeds int, lies bool) {
	t.Helper()
	if v := fips140.Version(); v != "latest" {
		t.Skipf("Go's cryptographic module %s takes no seed: what is random there is so in every run (docs/fips.md)", v)
	}
	if text := os.Getenv("BUCKETSEAL_SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		simulate(t, seed, lies, true)
		return
	}
	if n, err := strconv.Atoi(os.Getenv("BUCKETSEAL_SIM_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) { //nolint:gosec // not negative
		simulate(t, seed, lies, false)
	}
}

func simulate(t *testing.T, seed uint64, lies, show bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("BUCKETSEAL_SIM_SEED=%d runs this again", seed)
		}
	}()
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, lies)
		s.run()
		time.Sleep(5 * time.Minute) // until what clients do not wait for has been given up
		if show {
			t.Logf("%d steps and calls, %d contents\n%s", s.world.Now(), len(s.contents), s.world.Trace())
		}
	})
}

// sim is one simulation.
type sim struct {
	*testing.T
	at      *vaulttest.Installation
	world   *simulation.World
	random  *rand.Rand
	history simulation.History
	workers int // that were started
	lies    bool
	// first is an engine that never dies.
	first *vaulttest.Engine
	rules simRules

	mu       sync.Mutex
	contents map[string]*simContent // by name
	uploads  []*simUpload
	names    int // that were given
	// possible are the contents' names that each object may have had.
	possible map[string]map[string]bool
	// copying is how many copies are on their way.
	copying map[copyOf]int
}

// simContent is what an object may hold.
type simContent struct {
	name string
	data []byte
	// etags are those that it may have under SSE-S3, without quotes.
	etags []string
}

// has says whether an ETag may be the content's, under SSE-S3.
func (c *simContent) has(etag string) bool { return slices.Contains(c.etags, strings.Trim(etag, `"`)) }

// simUpload is an upload in parts that clients share.
type simUpload struct {
	name  string
	key   string
	id    string
	parts []simPart
}

// simPart is a part that was acknowledged.
type simPart struct {
	number int
	etag   string
	data   []byte
}

func newSim(t *testing.T, seed uint64, lies bool) *sim {
	t.Helper()
	s := &sim{
		T: t, at: vaulttest.New(t, memory.Options{}), contents: make(map[string]*simContent),
		possible: make(map[string]map[string]bool), copying: make(map[copyOf]int), lies: lies,
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // it shall be predictable
	}
	s.at.Lease = time.Minute // its other clock is not that of the bubble
	s.at.Change = func(o *vaulttest.Options) { o.SmallObject = 1000 }
	s.first = s.at.Engine(t)                     // which writes the rules' first version
	s.rules.end(s.rules.begin(sse.ModeS3, 0), 0) // the automatic default
	if seed%2 == 1 {
		if err := s.at.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
	}
	s.world = simulation.New(s.at.Storage, seed, simChances[seed%uint64(len(simChances))])
	if !lies { // a proxy that starts would not get past the rules
		s.world.Crashed = func(*simulation.Proxy) { s.proxy(2) }
	}
	s.world.Each = func() error {
		if t.Failed() {
			return errors.New("a promise is broken")
		}
		if lies && s.random.IntN(20) == 0 {
			s.lie()
		}
		return s.nothingReadable()
	}
	return s
}

// lie changes something at the storage.
func (s *sim) lie() {
	var names []sse.Name
	clients := s.random.IntN(2) == 0 // lies are about their objects, and not the proxy's own
	s.at.Storage.Each(func(name sse.Name, _ string, _ memory.Stored) {
		if clients && name.Bucket != vaulttest.Bucket {
			return
		}
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	})
	if len(names) == 0 { // all is hidden
		return
	}
	a, b := names[s.random.IntN(len(names))], names[s.random.IntN(len(names))]
	rawA, errA := s.at.Storage.Raw(a, "")
	rawB, errB := s.at.Storage.Raw(b, "")
	if errA != nil || errB != nil { // deleted or hidden
		_ = s.at.Storage.Hide(a, false)
		return
	}
	what := s.random.IntN(6)
	s.world.Note("  lie %d about %s and %s", what, a.Key, b.Key)
	var err error
	switch at := s.at.Storage; {
	case what == 0 && len(rawA.Data) > 0:
		err = at.Flip(a, s.random.IntN(len(rawA.Data)))
	case what == 1:
		err = at.Swap(a, b)
	case what == 2: // all of it
		err = errors.Join(at.Alter(a, "", func(o *memory.Stored) { *o = rawB }), at.Alter(b, "", func(o *memory.Stored) { *o = rawA }))
	case what == 3:
		err = at.Alter(a, "", func(o *memory.Stored) { o.Reserved = rawB.Reserved })
	case what == 4:
		_ = at.RollBack(a, 1+s.random.IntN(3)) // which it may have been written less often
	case what == 5:
		err = at.Hide(a, true)
	}
	if err != nil {
		s.Error(err)
	}
}

// may notes that an object may become a content, before it does.
func (s *sim) may(key, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spread(key, content)
}

// spread notes it of every object, too, that this one is being copied to.
func (s *sim) spread(key, content string) {
	if s.possible[key][content] {
		return
	}
	if s.possible[key] == nil {
		s.possible[key] = make(map[string]bool)
	}
	s.possible[key][content] = true
	for edge, n := range s.copying {
		if n > 0 && edge.from == key {
			s.spread(edge.to, content)
		}
	}
}

// copyOf is a copy on its way.
type copyOf struct{ from, to string }

// copies notes that a copy begins, or ends.
func (s *sim) copies(from, to string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copying[copyOf{from, to}] += n
	for content := range s.possible[from] {
		s.spread(to, content)
	}
}

// mayBe says whether an object may have been a content of which something holds.
func (s *sim) mayBe(key string, holds func(c *simContent) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.possible[key] {
		if holds(s.contents[name]) {
			return true
		}
	}
	return false
}

// run lets the clients work, and looks at what is there then.
func (s *sim) run() {
	for range 2 {
		s.proxy(simWorkers / 2)
	}
	if err := s.world.Run(); err != nil {
		s.Fatal(err)
	}
	s.world.Calm()
	synctest.Wait()
	last := &simClient{sim: s, name: "last", engine: s.first, ctx: s.Context(), random: s.random}
	last.readAll()
	last.list()
	if s.lies {
		return
	}
	if err := s.history.Check(); err != nil {
		s.Fatalf("%v\n%s", err, s.world.Trace())
	}
	s.sweep(last)
}

// proxy starts a proxy with so many clients.
func (s *sim) proxy(clients int) {
	p := s.world.Proxy(s.Context())
	var engine *vaulttest.Engine
	s.world.Undisturbed(func() { engine = s.at.EngineAt(s.T, p.View) })
	for range min(clients, 8-s.workers) {
		s.workers++
		c := &simClient{
			sim: s, name: fmt.Sprint("client-", s.workers), engine: engine, proxy: p,
			random: rand.New(rand.NewPCG(s.random.Uint64(), 2)), //nolint:gosec // it shall be predictable
		}
		s.world.Go(p, c.name, c.work)
	}
}

// readable is what every content consists of, but for a name.
const readable = "this is readable to everybody, "

// nothingReadable holds that no plaintext lies at the storage.
func (s *sim) nothingReadable() error {
	var found error
	look := func(name sse.Name, data []byte) {
		if bytes.Contains(data, []byte(readable[:len(readable)/2])) {
			found = fmt.Errorf("plaintext of %s lies at the storage", name.Key)
		}
	}
	s.at.Storage.Each(func(name sse.Name, _ string, o memory.Stored) { look(name, o.Data) })
	s.at.Storage.EachPart(look)
	return found
}

// sweep lets time pass and holds that sweeps remove what nothing needs, and nothing else.
func (s *sim) sweep(last *simClient) {
	before := last.readAll()
	waiting := 0
	for range 4 {
		time.Sleep(sweepAge + time.Minute)
		var err error
		waiting, err = last.engine.Sweep(s.Context(), maintenance.SweepOptions{
			Age: sweepAge, Removed: func(string, string) {},
			Skipped: func(what, name string, err error) { s.Errorf("the sweep cannot judge %s %s: %v", what, name, err) },
		})
		if err != nil {
			s.Fatalf("sweep: %v", err)
		}
	}
	last.engine = s.at.Engine(s.T) // which remembers no manifest
	if after := last.readAll(); !slices.Equal(before, after) {
		s.Errorf("before the sweeps objects were %q, then %q", before, after)
	}
	if waiting > 0 {
		s.Errorf("%d things wait for a later sweep still", waiting)
	}
}

// content makes a content of a size, and knows it from then on.
func (s *sim) content(size int) *simContent {
	name := s.newName("c")
	data := make([]byte, 0, size+len(readable)+len(name)+2)
	for len(data) < size {
		data = append(data, name+": "+readable...)
	}
	return s.know(name, data[:size])
}

// newName returns a name that nothing has.
func (s *sim) newName(kind string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names++
	return fmt.Sprint(kind, s.names)
}

func (s *sim) know(name string, data []byte) *simContent {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := md5.Sum(data) //nolint:gosec // see above
	c := &simContent{name: name, data: data, etags: []string{hex.EncodeToString(sum[:])}}
	s.contents[name] = c
	return c
}
