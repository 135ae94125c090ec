// Package workload is the clients: they do what S3 can, by a seed, and record what they were answered.
//
// Keys are shared, few at a time, and left for new ones every few seconds: histories of one key stay
// short enough to be judged. A key's first letter says what may be done with it, see the classes.
package workload

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// Target is a way in: the balancer, one proxy, or MinIO itself.
type Target struct {
	Name, URL, AccessKey, SecretKey, Region string
	CA                                      *x509.CertPool // of its certificate; nil for plain http
}

// Config says what runs.
type Config struct {
	Targets  []Target // Targets[0] is the balancer; clients take any
	Seed     uint64
	Clients  int
	Duration time.Duration
	// Offset is what the run's clock says when it begins. Keys are named by that clock: a run on the same buckets
	// that begins two epochs after another ended has keys of its own.
	Offset   time.Duration
	OnBegin  func()            // is told when all is prepared and clients begin; nil for nobody
	Keys     []string          // KMS keys that exist; none: nothing is encrypted, as for MinIO without a KMS
	Programs map[string]string // paths of python3, mc and rclone; what lacks is left out
	Dir      string            // for the programs' settings
	Record   *history.History  // where operations go
	Logf     func(string, ...any)
	Pause    time.Duration // between two operations of a client
	OnSecret func(string)  // is told each secret that a server told
	// EndKey deletes a KMS key at the key servers; nil: no keys are made and deleted. KeyGrace is for how long
	// after that servers may still use it.
	EndKey   func(ctx context.Context, name string) error
	KeyGrace time.Duration
}

// Limits of one operation.
const (
	shortLimit = 15 * time.Second
	longLimit  = 40 * time.Second
	// prepareTries is how often a request is sent again that makes the buckets.
	prepareTries = 30
	// epoch is how long a set of keys is written to.
	epoch = 10 * time.Second
	// slots is how many keys each class has in an epoch.
	slots = 5
)

// The buckets. Those with a rule of their own have it from the start; the one of moving changes.
const (
	bucketS3     = "chaos-s3"
	bucketKMS    = "chaos-kms"
	bucketVer    = "chaos-versions"
	bucketMoving = "chaos-moving"
)

// Buckets are the buckets that clients use.
func Buckets() []string { return buckets }

var buckets = []string{bucketS3, bucketKMS, bucketVer, bucketMoving}

// runner is a run.
type runner struct {
	Config
	ways     []*way
	book     *book
	history  *history.History
	began    time.Time
	offset   time.Duration // of the run's clock when it began
	uploads  *shared
	tools    []*tool
	versions versionBook
	mortals  [mortalKeys]mortal
	mu       sync.Mutex
}

// Run drives the clients until the duration has passed and each has ended its last operation.
func Run(ctx context.Context, c Config) (*history.History, error) {
	r := &runner{Config: c, book: newBook(), history: c.Record, began: time.Now(), offset: c.Offset, uploads: newShared()}
	if r.history == nil {
		r.history = history.New(nil)
	}
	for _, t := range c.Targets {
		r.ways = append(r.ways, newWay(t))
	}
	if err := r.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare buckets: %w", err)
	}
	if err := r.startTools(); err != nil {
		return nil, err
	}
	defer r.stopTools()
	for i := range r.mortals {
		r.mortals[i].made = int(c.Offset / time.Second) // longer than one of them lives
	}
	defer r.disconnect()
	r.restart()
	if c.OnBegin != nil {
		c.OnBegin()
	}
	var all sync.WaitGroup
	for i := range c.Clients {
		all.Go(func() {
			cl := &client{r: r, id: i + 1, rng: seeded(c.Seed, uint64(i))}
			cl.run(ctx)
		})
	}
	all.Wait()
	return r.history, errors.Join(ctx.Err(), r.history.Flush())
}

// prepare makes the buckets, and their rules.
func (r *runner) prepare(ctx context.Context) error {
	for _, b := range buckets {
		a := r.patiently(ctx, request{method: http.MethodPut, bucket: b, limit: longLimit})
		if a.outcome != history.OK && a.code != "BucketAlreadyOwnedByYou" {
			return fmt.Errorf("bucket %s: status %d %s", b, a.status, a.code)
		}
	}
	if a := r.patiently(ctx, request{
		method: http.MethodPut, bucket: bucketVer, query: url.Values{"versioning": {""}}, limit: longLimit,
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}); a.outcome != history.OK {
		return fmt.Errorf("versioning: status %d %s", a.status, a.code)
	}
	if len(r.Keys) == 0 {
		return nil
	}
	for b, rule := range map[string]string{
		bucketS3: "AES256", bucketVer: "AES256", bucketMoving: "AES256", bucketKMS: kmsSeal(r.Keys[0]),
	} {
		if a := r.patiently(ctx, setRule(b, rule)); a.outcome != history.OK {
			return fmt.Errorf("rule of %s: status %d %s", b, a.status, a.code)
		}
	}
	return nil
}

// patiently asks until the answer is no fault of the server: faults begin while buckets are prepared.
func (r *runner) patiently(ctx context.Context, asked request) answer {
	a := r.ways[0].do(ctx, asked)
	for range prepareTries {
		if a.outcome != history.Unknown && a.status < http.StatusInternalServerError {
			break
		}
		time.Sleep(time.Second)
		a = r.ways[0].do(ctx, asked)
	}
	return a
}

// secret notes what must be in no log.
func (r *runner) secret(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.OnSecret != nil {
		r.OnSecret(text)
	}
}

// disconnect closes connections that are kept for more requests.
func (r *runner) disconnect() {
	for _, w := range r.ways {
		w.client.CloseIdleConnections()
	}
}

// since is the time of the run, by a clock that does not jump.
func (r *runner) since() time.Duration { return r.offset + time.Since(r.began) }

func (r *runner) restart() { r.began = time.Now() }

// seeded is the source of a client's choices.
func seeded(seed, client uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, client)) }

// client is one client. Its choices depend on the seed and its number only.
type client struct {
	r       *runner
	id      int
	rng     *rand.Rand
	n       int64 // of its last write
	session *session
}

func (c *client) run(ctx context.Context) {
	for c.r.since() < c.r.Offset+c.r.Duration && ctx.Err() == nil {
		c.step(ctx)
		if c.r.Pause > 0 {
			time.Sleep(c.r.Pause/2 + time.Duration(c.rng.Int64N(int64(c.r.Pause))))
		}
	}
}

// steps are what a client may do next, and how often.
var steps = []struct {
	weight int
	do     func(*client, context.Context)
}{
	{18, (*client).putRegister},
	{20, (*client).getRegister},
	{8, (*client).rangeRegister},
	{5, (*client).headRegister},
	{5, (*client).deleteRegister},
	{6, (*client).copyRegister},
	{4, (*client).multipart},
	{2, (*client).completeOfAnother},
	{2, (*client).abortOfAnother},
	{8, (*client).counter},
	{4, (*client).lock},
	{4, (*client).customerKey},
	{6, (*client).version},
	{5, (*client).list},
	{2, (*client).listVersions},
	{3, (*client).mortalKey},
	{1, (*client).changeRule},
	{4, (*client).putByMovingRule},
	{1, (*client).readRule},
	{2, (*client).program},
	{1, (*client).renewSession},
}

func (c *client) step(ctx context.Context) {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	pick := c.rng.IntN(total)
	for _, s := range steps {
		if pick -= s.weight; pick < 0 {
			s.do(c, ctx)
			return
		}
	}
}

// next numbers a write of this client.
func (c *client) next() history.Write {
	c.n++
	return history.Write(int64(c.id)*1_000_000_000 + c.n)
}

// way chooses a way in: half of the requests take the balancer.
func (c *client) way() *way {
	if c.rng.IntN(2) == 0 {
		return c.r.ways[0]
	}
	return c.r.ways[c.rng.IntN(len(c.r.ways))]
}

// key chooses one of the keys of a class that are in use now, or just were.
func (c *client) key(class string) string {
	e := int64(c.r.since() / epoch)
	if e > 0 && c.rng.IntN(8) == 0 {
		e--
	}
	return fmt.Sprintf("%s/%05d-%d", class, e, c.rng.IntN(slots))
}

// begin makes a record of an operation that begins now.
func (c *client) begin(kind history.Kind, w *way, bucket, key string) history.Op {
	return history.Op{Client: c.id, Kind: kind, By: "http", Via: w.Name, Bucket: bucket, Key: key, Start: c.r.since()}
}

// end records the operation with its answer.
func (c *client) end(o history.Op, a answer) {
	o.End, o.Outcome, o.Status, o.Code = c.r.since(), a.outcome, a.status, a.code
	c.r.history.Add(o)
}
