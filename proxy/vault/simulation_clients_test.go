package vault_test

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/simulation"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// simKeys are the objects.
var simKeys = []string{"a", "b", "secret/a", "secret/b"}

// isSecret says whether an object is always of SSE-C.
func isSecret(key string) bool { return strings.HasPrefix(key, "secret/") }

// simSecret is the customer key of all that are secret.
var simSecret = sse.Secret{1, 2, 3}

func simName(key string) sse.Name { return sse.Name{Bucket: vaulttest.Bucket, Key: key} }

func simAsked(mode sse.Mode) encryption.Asked {
	a := encryption.Asked{Request: sse.Request{Mode: mode}}
	if mode == sse.ModeC {
		a.CustomerKey, a.CustomerKeyMD5 = simSecret, "md5"
	}
	return a
}

// simState is what is known of an object: its content's name, "" for none, and the uploads
// to it that have ended, each with the content that it became, "" for one that was aborted.
type simState struct {
	value string
	ended map[string]string
}

func stateOf(text string) simState {
	fields := strings.Split(text, "|")
	s := simState{value: fields[0], ended: make(map[string]string)}
	for _, f := range fields[1:] {
		upload, value, _ := strings.Cut(f, "=")
		s.ended[upload] = value
	}
	return s
}

func (s simState) String() string {
	text := s.value
	for _, upload := range slices.Sorted(maps.Keys(s.ended)) {
		text += "|" + upload + "=" + s.ended[upload]
	}
	return text
}

// becomes makes an object what it is.
func becomes(value string, holds func(before simState) bool) func(string) []string {
	return func(before string) []string {
		s := stateOf(before)
		if holds != nil && !holds(s) {
			return nil
		}
		s.value = value
		return []string{s.String()}
	}
}

// is found something to hold of an object.
func is(holds func(s simState) bool) func(string) []string {
	return simulation.ReadIf(func(before string) bool { return holds(stateOf(before)) })
}

// simClient is one client of a proxy.
type simClient struct {
	*sim
	name   string
	engine *vaulttest.Engine
	proxy  *simulation.Proxy // nil for none that may die
	random *rand.Rand
	ctx    context.Context
	// etags are the last that the client saw of each object, of SSE-S3.
	etags map[string]string
}

// work does a number of things.
func (c *simClient) work(ctx context.Context) {
	c.ctx, c.etags = ctx, make(map[string]string)
	todo := []func(){c.put, c.put, c.put, c.get, c.get, c.getRange, c.copy, c.copy, c.remove, c.begin, c.part, c.part, c.complete, c.complete, c.complete, c.complete, c.abort, c.list, c.setRule, c.rekey, c.rekey}
	for range simOps {
		if ctx.Err() != nil {
			return
		}
		todo[c.random.IntN(len(todo))]()
	}
}

// rekey has an object encrypted otherwise, which changes nothing of what it is. It is not made
// one of SSE-S3: a client would take its ETag for an MD5.
func (c *simClient) rekey() {
	key, to := c.key(), sse.Request{Mode: sse.ModeKMS, KMSKeyID: []string{"default", "other"}[c.random.IntN(2)]}
	err := c.engine.Vault.Rekey(c.ctx, c.who(), &vault.Rekey{Name: simName(key), Asked: func() (*caller.Caller, encryption.Asked, error) {
		return c.who(), encryption.Asked{Request: to}, nil
	}})
	if !c.lies && !c.gone() && (errors.Is(err, keyring.ErrWithheld) || errors.Is(err, sse.ErrTampered)) {
		c.Errorf("re-key %s: %v", key, err)
	}
}

func (c *simClient) key() string { return simKeys[c.random.IntN(len(simKeys))] }

func (c *simClient) who() *caller.Caller { return vaulttest.Caller("app") }

// as is how an object under a key is encrypted.
func (c *simClient) as(key string) encryption.Asked {
	if isSecret(key) {
		return simAsked(sse.ModeC)
	}
	return simAsked([]sse.Mode{sse.ModeNone, sse.ModeS3, sse.ModeKMS}[c.random.IntN(3)])
}

func (c *simClient) read(key string) vault.Read {
	r := vault.Read{Name: simName(key)}
	if isSecret(key) {
		customer := simSecret
		r.Customer = &customer
	}
	return r
}

// gone says whether an answer cannot reach the client any more.
func (c *simClient) gone() bool {
	return c.ctx.Err() != nil || c.proxy != nil && !c.world.Alive(c.proxy)
}

// unknown says whether nobody knows what became of a call that ended with err.
func unknown(err error) bool {
	for _, e := range []error{storage.ErrUnreachable, simulation.ErrCrashed, simulation.ErrLeft, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// did notes a write that ended with err: one that failed may have happened, unless err is
// one of those of a refusal. Other errors break a promise.
func (c *simClient) did(key, what string, start int, err error, apply func(string) []string, refusals ...error) bool {
	op := simulation.Op{What: c.name + ": " + what, Start: start, End: c.world.Now(), Apply: apply}
	switch gone := c.gone(); {
	case err == nil && !gone:
	case unknown(err) || gone:
		op.What, op.End, op.Maybe = fmt.Sprintf("%s: %v", op.What, err), simulation.Never, true
	default:
		c.excused(key, what, err, refusals)
		c.world.Note("  %s: %s %s: %v", c.name, what, key, err)
		return false
	}
	c.world.Note("  %s: %s %s: %v", c.name, what, key, err)
	c.history.Add(key, op)
	return err == nil && !op.Maybe
}

// excused fails the test unless err is one of the errors.
func (c *simClient) excused(key, what string, err error, excuses []error) {
	if c.lies || c.gone() || slices.ContainsFunc(excuses, func(e error) bool { return errors.Is(err, e) }) {
		return
	}
	c.Errorf("%s: %s %s: %v", c.name, what, key, err)
}

// saw notes what was found of an object.
func (c *simClient) saw(key, what string, start int, holds func(s simState) bool) {
	if c.gone() {
		return
	}
	c.world.Note("  %s: %s %s", c.name, what, key)
	c.history.Add(key, simulation.Op{What: c.name + ": " + what, Start: start, End: c.world.Now(), Apply: is(holds)})
}

var simSizes = []int{0, 1, 100, 999, 1000, 1001, 3000, 70_000}

func (c *simClient) put() {
	key, content := c.key(), c.content(simSizes[c.random.IntN(len(simSizes))])
	p := &vault.Put{
		Write: vault.Write{Name: simName(key), Asked: c.as(key), Meta: storage.Metadata{"X-Amz-Meta-Content": {content.name}}},
		Size:  int64(len(content.data)),
		Body: func(d plaintext.Digests) (plaintext.Body, error) {
			return vaulttest.NewBody(content.data, append(d.Compute, d.Default)...), nil
		},
	}
	var holds func(simState) bool
	switch known, ok := c.etags[key]; {
	case c.random.IntN(4) == 0:
		p.Conditions.IfNoneMatch = "*"
		holds = func(s simState) bool { return s.value == "" }
	case ok && c.random.IntN(2) == 0:
		p.Conditions.IfMatch = known
		holds = func(s simState) bool { return s.value != "" && c.known(s.value).has(known) }
	}
	c.may(key, content.name)
	start := c.world.Now()
	stored, err := c.engine.Put(c.ctx, c.who(), p)
	what := fmt.Sprintf("put %s (%d bytes, %+v)", content.name, len(content.data), p.Conditions)
	if err == nil && p.Asked.Mode == sse.ModeNone {
		c.rules.obeyed(c, start, stored.Record.Mode)
	}
	if c.did(key, what, start, err, becomes(content.name, holds), conditions.ErrPrecondition, storage.ErrPrecondition, conditions.ErrNoSuchKey, storage.ErrNotFound) && stored.Record.Mode == sse.ModeS3 {
		c.etags[key] = stored.ETag
		if !content.has(stored.ETag) {
			c.Errorf("%s: %s is answered as %s", c.name, what, stored.ETag)
		}
	}
	if p.Conditions.IfNoneMatch != "" && (errors.Is(err, conditions.ErrPrecondition) || errors.Is(err, storage.ErrPrecondition)) {
		c.saw(key, "there was something for "+what, start, func(s simState) bool { return s.value != "" })
	}
}

// readErrors are what a read may end with besides what passes.
var readErrors = []error{vault.ErrChanged}

// get reads an object and returns the name of its content, "" if there is none.
func (c *simClient) get() { c.getKey(c.key()) }

func (c *simClient) getKey(key string) string {
	start := c.world.Now()
	r, err := c.engine.Open(c.ctx, c.who(), &vault.Get{Read: c.read(key)})
	if errors.Is(err, storage.ErrNotFound) {
		c.saw(key, "found nothing", start, func(s simState) bool { return s.value == "" })
		return ""
	}
	if err != nil {
		if !unknown(err) {
			c.excused(key, "get", err, readErrors)
		}
		return ""
	}
	data, err := io.ReadAll(r)
	seen := r.Seen
	_ = r.Close()
	if err != nil {
		if !unknown(err) {
			c.excused(key, "read", err, readErrors)
		}
		return ""
	}
	if c.lies { // metadata are anybody's
		if !c.mayBe(key, func(known *simContent) bool { return bytes.Equal(known.data, data) && seen.Size == int64(len(data)) }) {
			c.Errorf("%s: %s holds %d bytes that nobody wrote there", c.name, key, len(data))
		}
		return ""
	}
	found := c.contentOf(&seen, data)
	if found == nil || seen.Size != int64(len(data)) {
		c.Errorf("%s: %s holds %d bytes, said to be %d, and is not %v", c.name, key, len(data), seen.Size, seen.Meta["X-Amz-Meta-Content"])
		return ""
	}
	if seen.Record.Mode == sse.ModeS3 {
		if !found.has(seen.ETag) {
			c.Errorf("%s: %s of %s has the ETag %s, not one of %q", c.name, found.name, key, seen.ETag, found.etags)
		}
		if c.etags != nil {
			c.etags[key] = seen.ETag
		}
	}
	c.saw(key, "read "+found.name, start, func(s simState) bool { return s.value == found.name })
	return found.name
}

// contentOf returns the content of which an object's data and metadata are; nil for none.
func (c *simClient) contentOf(seen *vault.Seen, data []byte) *simContent {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := seen.Meta.Get("X-Amz-Meta-Content")
	for _, content := range c.contents { // an upload's depends on its list, too
		if (content.name == name || strings.HasPrefix(content.name, name+".")) && bytes.Equal(content.data, data) {
			return content
		}
	}
	return nil
}

func (c *simClient) getRange() {
	key, start := c.key(), c.world.Now()
	first := c.random.Int64N(1500)
	ask := &plaintext.Range{First: first, Last: first + c.random.Int64N(1500), Suffix: -1}
	r, err := c.engine.Open(c.ctx, c.who(), &vault.Get{Read: c.read(key), Range: ask})
	var beyond *plaintext.RangeError
	switch {
	case errors.Is(err, storage.ErrNotFound):
		c.saw(key, "found no range", start, func(s simState) bool { return s.value == "" })
		return
	case errors.As(err, &beyond):
		c.saw(key, fmt.Sprintf("has no byte %d", first), start, func(s simState) bool { return s.value != "" && int64(len(c.known(s.value).data)) <= first })
		return
	case err != nil:
		if !unknown(err) {
			c.excused(key, "get a range", err, readErrors)
		}
		return
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(r)
	if err != nil {
		if !unknown(err) {
			c.excused(key, "read a range", err, readErrors)
		}
		return
	}
	fits := func(known *simContent) bool {
		return int64(len(known.data)) == r.Size && r.Range.Offset == first && bytes.Equal(data, known.data[first:min(ask.Last+1, r.Size)])
	}
	if c.lies && !c.mayBe(key, fits) {
		c.Errorf("%s: %d bytes from %d of %d of %s are such that nobody wrote there", c.name, len(data), first, r.Size, key)
	}
	c.saw(key, fmt.Sprintf("read %d bytes from %d of %d", len(data), first, r.Size), start, func(s simState) bool {
		return s.value != "" && fits(c.known(s.value))
	})
}

// known returns a content by its name.
func (s *sim) known(name string) *simContent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contents[name]
}

func (c *simClient) copy() {
	from, to := c.key(), c.key()
	start := c.world.Now()
	c.copies(from, to, 1)
	copied, err := c.engine.Copy(c.ctx, c.who(), &vault.Copy{
		Write: vault.Write{Name: simName(to), Asked: c.as(to), Meta: storage.Metadata{}}, Source: c.read(from), Changes: true,
	})
	c.copies(from, to, -1)
	what := "copy of " + from
	if errors.Is(err, storage.ErrNotFound) {
		c.saw(from, "found nothing to copy", start, func(s simState) bool { return s.value == "" })
	}
	apply := func(before string) (after []string) { // any content that its source may have had
		for _, name := range c.contentNames() {
			after = append(after, becomes(name, nil)(before)...)
		}
		return after
	}
	if err == nil && copied.Record.Mode == sse.ModeS3 {
		apply = func(before string) (after []string) {
			for _, name := range c.contentNames() {
				if c.known(name).has(copied.ETag) {
					after = append(after, becomes(name, nil)(before)...)
				}
			}
			return after
		}
	}
	c.did(to, what, start, err, apply, storage.ErrNotFound, vault.ErrChanged)
}

func (s *sim) contentNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.contents))
}

func (c *simClient) remove() {
	key, start := c.key(), c.world.Now()
	_, err := c.proxy.View.As(storage.Actor{}).Delete(c.ctx, &storage.Delete{Name: simName(key)})
	c.did(key, "delete", start, err, becomes("", nil))
}

func (c *simClient) begin() {
	key := c.key()
	u := &simUpload{name: c.newName("u"), key: key}
	begun, err := c.engine.Begin(c.ctx, c.who(), &vault.Begin{
		Write: vault.Write{Name: simName(key), Asked: c.as(key), Meta: storage.Metadata{"X-Amz-Meta-Content": {u.name}}},
	})
	c.world.Note("  %s: begin %s of %s: %v", c.name, u.name, key, err)
	if err != nil {
		if !unknown(err) {
			c.excused(key, "begin", err, nil)
		}
		return
	}
	u.id = begun.ID
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads = append(c.uploads, u)
}

// upload returns one of the uploads and a part of it, if it has one.
func (c *simClient) upload() (u *simUpload, p simPart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.uploads) == 0 {
		return nil, p
	}
	u = c.uploads[c.random.IntN(len(c.uploads))]
	if len(u.parts) > 0 {
		p = u.parts[c.random.IntN(len(u.parts))]
	}
	return u, p
}

func (u *simUpload) named() vault.Upload { return vault.Upload{Name: simName(u.key), ID: u.id} }

func (u *simUpload) isEnded(s simState) bool {
	_, ended := s.ended[u.name]
	return ended
}

// hasEnded says whether an upload is said to have ended, by the engine or the storage.
func hasEnded(err error) bool {
	return errors.Is(err, vault.ErrNoSuchUpload) || errors.Is(err, storage.ErrNoSuchUpload)
}

func (c *simClient) part() {
	u, _ := c.upload()
	if u == nil {
		c.begin()
		return
	}
	start := c.world.Now()
	p := simPart{number: 1 + c.random.IntN(3), data: slices.Clone(c.content(simSizes[1+c.random.IntN(len(simSizes)-1)]).data)}
	sent, err := c.engine.Part(c.ctx, c.who(), &vault.Part{
		PartTarget: vault.PartTarget{Upload: u.named(), Number: p.number, Customer: c.read(u.key).Customer},
		Body: func(d plaintext.Digests) (plaintext.Body, error) {
			return vaulttest.NewBody(p.data, append(d.Compute, d.Default)...), nil
		},
	})
	what := fmt.Sprintf("part %d of %s", p.number, u.name)
	switch {
	case err == nil:
		c.saw(u.key, what, start, func(s simState) bool { return !u.isEnded(s) })
		p.etag = sent.ETag
		c.mu.Lock()
		defer c.mu.Unlock()
		u.parts = append(u.parts, p)
	case hasEnded(err):
		c.saw(u.key, what+": it has ended", start, u.isEnded)
	case !unknown(err):
		c.excused(u.key, what, err, nil)
	}
}

func (c *simClient) complete() {
	u, p := c.upload()
	if u == nil || p.etag == "" {
		c.part()
		return
	}
	start := c.world.Now()
	content := c.contentOfUpload(u, p)
	c.may(u.key, content.name)
	wanted := &vault.Complete{Upload: u.named(), Parts: []vault.WantedPart{{Number: p.number, ETag: p.etag}}}
	if c.random.IntN(4) == 0 {
		wanted.Conditions.IfNoneMatch = "*"
	}
	_, err := c.engine.Complete(c.ctx, c.who(), wanted)
	what := fmt.Sprintf("complete %s as %s, %+v", u.name, content.name, wanted.Conditions)
	if answer := new(storage.Error); errors.As(err, &answer) && answer.Code == "InvalidPart" { // sent again meanwhile
		err = vault.ErrInvalidPart
	}
	if hasEnded(err) {
		c.saw(u.key, what+": it has ended", start, u.isEnded)
	}
	c.did(u.key, what, start, err, func(before string) []string {
		s := stateOf(before)
		if u.isEnded(s) { // it is told again, as long as the object is there
			if s.ended[u.name] != content.name || s.value != content.name {
				return nil
			}
			return []string{before}
		}
		if wanted.Conditions.IfNoneMatch != "" && s.value != "" {
			return nil
		}
		s.value, s.ended[u.name] = content.name, content.name
		return []string{s.String()}
	}, vault.ErrNoSuchUpload, storage.ErrNoSuchUpload, vault.ErrInvalidPart, conditions.ErrPrecondition, storage.ErrPrecondition)
}

// contentOfUpload is what an upload of this one part becomes.
func (c *simClient) contentOfUpload(u *simUpload, p simPart) *simContent {
	sum := md5.Sum(p.data)   //nolint:gosec // see above
	whole := md5.Sum(sum[:]) //nolint:gosec // see above
	content := c.know(fmt.Sprintf("%s.%x", u.name, sum[:4]), p.data)
	content.etags = append(content.etags, hex.EncodeToString(whole[:])+"-1") // until it is copied
	return content
}

func (c *simClient) abort() {
	u, _ := c.upload()
	if u == nil {
		return
	}
	start := c.world.Now()
	err := c.engine.Abort(c.ctx, c.who(), u.named())
	if hasEnded(err) {
		c.saw(u.key, "abort "+u.name+": it has ended", start, u.isEnded)
	}
	c.did(u.key, "abort "+u.name, start, err, func(before string) []string {
		s := stateOf(before)
		if !u.isEnded(s) {
			s.ended[u.name] = ""
		}
		return []string{s.String()}
	}, vault.ErrNoSuchUpload, storage.ErrNoSuchUpload)
}

// list holds a listing to what the objects are.
func (c *simClient) list() {
	start := c.world.Now()
	page, err := c.engine.List(c.ctx, c.who(), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		if !unknown(err) {
			c.excused("", "list", err, nil)
		}
		return
	}
	if c.lies { // what cannot be opened is listed as the storage lists it
		return
	}
	at := make(map[string]int)
	for i := range page.Entries {
		key, _ := url.QueryUnescape(page.Entries[i].Key)
		at[key] = i
		if page.Known[i].Mode == sse.ModeNone {
			c.Errorf("%s: %s is listed without its record", c.name, key)
			return
		}
	}
	for _, key := range simKeys {
		i, ok := at[key]
		if !ok {
			c.saw(key, "not listed", start, func(s simState) bool { return s.value == "" })
			continue
		}
		e := &page.Entries[i]
		c.saw(key, fmt.Sprintf("listed with %d bytes, %s", e.Size, e.ETag), start, func(s simState) bool {
			if s.value == "" {
				return false
			}
			content := c.known(s.value)
			return int64(len(content.data)) == e.Size && (page.Known[at[key]].Mode != sse.ModeS3 || content.has(e.ETag))
		})
	}
}

// setRule gives the bucket a rule.
func (c *simClient) setRule() {
	rule, mode := bucketconfig.Rule{Algorithm: bucketconfig.AES256}, sse.ModeS3
	if c.random.IntN(2) == 0 {
		rule, mode = bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other"}, sse.ModeKMS
	}
	set := c.rules.begin(mode, c.world.Now())
	err := c.engine.SetRule(c.ctx, c.who(), vaulttest.Bucket, func() (bucketconfig.Rule, error) { return rule, nil })
	c.world.Note("  %s: rule %v: %v", c.name, rule, err)
	if err == nil && !c.gone() {
		c.rules.end(set, c.world.Now())
	} else if err != nil && !unknown(err) {
		c.excused("", "set a rule", err, []error{bucketconfig.ErrConflict})
	}
}

// simRules are the rules that the bucket was given.
type simRules struct {
	mu   sync.Mutex
	sets []*simRule
}

// simRule is one of them; its end is simulation.Never while it may be set yet.
type simRule struct {
	mode       sse.Mode
	start, end int
}

func (r *simRules) begin(mode sse.Mode, now int) *simRule {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := &simRule{mode, now, simulation.Never}
	r.sets = append(r.sets, set)
	return set
}

func (r *simRules) end(set *simRule, now int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set.end = now
}

// obeyed holds that a write was encrypted as a rule says that may have been the bucket's
// while it was written: until a change returns, each proxy obeys which one it knows.
func (r *simRules) obeyed(c *simClient, start int, mode sse.Mode) {
	if c.lies || c.gone() { // rules may be rolled back
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, set := range r.sets {
		superseded := slices.ContainsFunc(r.sets, func(other *simRule) bool { return other.start > set.end && other.end < start })
		if set.mode == mode && !superseded {
			return
		}
	}
	c.Errorf("%s: mode %d is no rule's that may hold since %d", c.name, mode, start)
}

// readAll reads every object and returns the contents' names.
func (c *simClient) readAll() (names []string) {
	for _, key := range simKeys {
		names = append(names, c.getKey(key))
	}
	return names
}
