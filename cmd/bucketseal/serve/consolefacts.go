package serve

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/proxy/console"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/usage"
	"github.com/bucketseal/bucketseal/sse"
)

// consoleFacts is what a running proxy tells the console. It is a console.Facts.
type consoleFacts struct {
	*running
	forwarder *upstream.Forwarder
}

// IsOperator implements console.Facts.
func (f *consoleFacts) IsOperator(ctx context.Context, accessKey string) bool {
	id, err := f.handler.Identities().Lookup(ctx, accessKey)
	return err == nil && f.handler.Identities().MayAdministerKeys(id) == nil
}

// Scan implements console.Facts.
func (f *consoleFacts) Scan(ctx context.Context) (*console.Scan, error) {
	last, err := f.handler.Usage().Last(ctx)
	if errors.Is(err, usage.ErrNoScan) {
		return nil, console.ErrNoScan
	}
	if err != nil {
		return nil, err
	}
	scan := &console.Scan{Began: last.Began, Buckets: make(map[string]console.Share), Keys: make(map[string]int64), Unknown: last.UnknownCount}
	for _, row := range last.Rows {
		share := scan.Buckets[row.Bucket]
		if row.Mode == sse.ModeNone.String() {
			share.Plain += row.Objects
		} else {
			share.Encrypted += row.Objects
		}
		share.Bytes += row.Bytes
		scan.Buckets[row.Bucket] = share
		if row.KMSKey != "" {
			scan.Keys[row.KMSKey] += row.Objects
		}
	}
	return scan, nil
}

// keyReads bounds the keys that are described at a time.
const keyReads = 8

// Keys implements console.Facts.
func (f *consoleFacts) Keys(ctx context.Context, names []string) []console.Key {
	all := make([]console.Key, len(names))
	shared, err := f.handler.Uses().Shared(ctx)
	if err != nil {
		shared = &usage.Shared{}
	}
	var group errgroup.Group
	group.SetLimit(keyReads)
	for i, name := range names {
		group.Go(func() error {
			k := &all[i]
			k.Name = name
			versions, err := f.keys.KeyVersions(ctx, name)
			if err != nil || len(versions) == 0 {
				k.Problem = "it cannot be described now"
				f.log.Warn("the console cannot describe a KMS key", "key", name, "error", err)
				return nil
			}
			first, last := versions[0], versions[len(versions)-1]
			k.Version, k.Algorithm = last.Version, last.Algorithm
			k.Created, k.CreatedBy, k.Rotated = first.CreatedAt, first.CreatedBy, last.CreatedAt
			use := shared.Last(name, 0)
			k.Sealed, k.Opened = use.Generate, use.Decrypt
			return nil
		})
	}
	_ = group.Wait()
	return all
}

// Identities implements console.Facts.
func (f *consoleFacts) Identities(ctx context.Context) ([]console.Identity, error) {
	learned, err := f.handler.Identities().List(ctx)
	if err != nil {
		return nil, err
	}
	c := f.config.Load()
	var all []console.Identity
	for _, one := range c.Credentials {
		all = append(all, f.describe(&c.Access, &identity.Identity{AccessKey: one.AccessKey, Kind: identity.Configured}))
	}
	for i := range learned {
		all = append(all, f.describe(&c.Access, &learned[i]))
	}
	return all, nil
}

func (f *consoleFacts) describe(access *identity.Access, id *identity.Identity) console.Identity {
	one := console.Identity{AccessKey: id.AccessKey, Kind: string(id.Kind), KeyAdmin: f.handler.Identities().MayAdministerKeys(id) == nil}
	for _, v := range id.Vouchers() {
		one.By = append(one.By, v.AccessKey)
	}
	own := id.Kind == identity.Configured || id.Kind == identity.Added
	for _, rule := range access.Rules {
		if rule.AccessKeys.Match(id.AccessKey) || slices.Contains(rule.Kinds, id.Kind) {
			uses := make([]string, len(rule.Uses))
			for i, use := range rule.Uses {
				uses[i] = string(use)
			}
			one.Uses = append(one.Uses, fmt.Sprintf("%s with %s in %s", strings.Join(uses, ", "), strings.Join(rule.Keys, ", "), strings.Join(rule.Buckets, ", ")))
		}
	}
	switch {
	case len(one.By) > 0 && len(one.Uses) > 0:
		one.Uses = append(one.Uses, "and no more than "+one.By[0]+" may")
	case len(one.By) > 0:
		one.Uses = []string{"what " + one.By[0] + " may"}
	case len(one.Uses) > 0:
	case own && access.Unrestricted:
		one.Uses = []string{"all keys in all buckets"}
	default:
		one.Uses = []string{"none"}
	}
	return one
}

// State implements console.Facts.
func (f *consoleFacts) State() (s console.State) {
	s.Storage, s.Keys, s.Words = f.handler.State()
	return s
}

// Findings implements console.Facts.
func (f *consoleFacts) Findings() *console.Findings {
	d := f.doctor.Load()
	if d == nil || d.Last() == nil {
		return nil
	}
	last := d.Last()
	found := &console.Findings{Unknown: last.Unknown}
	for _, one := range last.Findings {
		found.All = append(found.All, console.Finding{ID: one.ID, Severity: string(one.Severity), What: one.What, Why: one.Why, Do: one.Do})
	}
	return found
}

// Settings implements console.Facts.
func (f *consoleFacts) Settings() []console.Setting {
	values := f.config.Load().Effective(nil)
	all := make([]console.Setting, len(values))
	for i, v := range values {
		all[i] = console.Setting{Path: v.Path, Source: v.Source, Values: v.Values, Live: v.Live}
	}
	return all
}

// Search implements console.Facts.
func (f *consoleFacts) Search(ctx context.Context, q trail.Query) ([]*trail.Line, bool, error) {
	path := f.config.Load().Audit.File.Path
	if path == "" {
		return nil, false, console.ErrNoAudit
	}
	names, err := trail.Files(path)
	if err != nil {
		return nil, false, err
	}
	return trail.Search(ctx, names, q)
}

// shownBytes is how much of an object is shown as it is stored.
const shownBytes = 160

// atUpstream is what signs towards MinIO for who has logged in at the console, if the
// credential still counts.
func (f *consoleFacts) atUpstream(ctx context.Context, who console.Credential) (*storage.Credential, error) {
	id, err := f.handler.Identities().Lookup(ctx, who.AccessKey)
	if err == nil {
		err = id.CheckToken("")
	}
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.SecretKey), []byte(who.SecretKey)) != 1 {
		return nil, errors.New("the credential is valid no more")
	}
	at := id.AtUpstream()
	return &storage.Credential{AccessKey: at.AccessKey, SecretKey: at.SecretKey}, nil
}

// stored asks MinIO for the beginning of an object as who asks, and decides nothing: MinIO
// does, as for who asks it directly. The system bucket is nobody's.
func (f *consoleFacts) stored(ctx context.Context, who console.Credential, from netip.Addr, of console.Object) (*console.Stored, error) {
	if of.Bucket == f.config.Load().SystemBucket {
		return nil, errors.New("the system bucket is not shown")
	}
	credential, err := f.atUpstream(ctx, who)
	if err != nil {
		return nil, err
	}
	actor := storage.Actor{Credential: credential, Agent: "bucketseal-console", Addr: from}
	query := make(map[string][]string)
	if of.Version != "" {
		query["versionId"] = []string{of.Version}
	}
	head, err := f.forwarder.Forward(ctx, actor, &upstream.Forward{Method: http.MethodHead, Bucket: of.Bucket, Key: of.Key, Query: query})
	if err != nil {
		return nil, errors.New(storageWords(err))
	}
	_ = head.Close()
	s := &console.Stored{Size: head.Length}
	if n, err := strconv.ParseInt(head.Header.Get("Content-Length"), 10, 64); err == nil {
		s.Size = n
	}
	describeStored(s, head.Header)
	if s.Size == 0 {
		return s, nil
	}
	body, err := f.forwarder.Forward(ctx, actor, &upstream.Forward{
		Method: http.MethodGet, Bucket: of.Bucket, Key: of.Key, Query: query,
		Header: storage.Metadata{"Range": {fmt.Sprintf("bytes=0-%d", shownBytes-1)}},
	})
	if err != nil {
		return nil, errors.New(storageWords(err))
	}
	defer func() { _ = body.Close() }()
	s.First, err = io.ReadAll(io.LimitReader(body, shownBytes))
	return s, err
}

// storageWords says what went wrong at MinIO, without what only the log should have.
func storageWords(err error) string {
	var refused *storage.Error
	if errors.As(err, &refused) && refused.Code != "" {
		return refused.Code
	}
	return lifecycle.Cause(err)
}

// describeStored says what headers tell of an object, and what its record does without a key.
func describeStored(s *console.Stored, header storage.Metadata) {
	var names []string
	for name := range header {
		if strings.HasPrefix(name, "X-Amz-Meta-") && name != storage.RecordName || slices.Contains([]string{"Content-Type", "Etag", "Last-Modified", "X-Amz-Version-Id"}, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		s.Header = append(s.Header, console.Field{Name: name, Value: header.Get(name)})
	}
	text := header.Get(storage.RecordName)
	if text == "" {
		return
	}
	record, err := sse.ParseRecord(text)
	if err != nil {
		s.Record = []console.Field{{Name: "record", Value: text, Means: "nobody can read it"}}
		s.Problem = "The record is damaged: no key opens this object."
		return
	}
	s.Record = recordFields(record, text)
}

// recordFields are a record's fields.
func recordFields(r *sse.Record, text string) []console.Field {
	fields := []console.Field{{Name: "mode", Value: r.Mode.String(), Means: "how the object is encrypted"}}
	open := func(name, value, means string) {
		fields = append(fields, console.Field{Name: name, Value: value, Means: means})
	}
	sealed := func(name, value, means string) {
		fields = append(fields, console.Field{Name: name, Value: value, Means: means, Sealed: true})
	}
	if r.KMSKey != "" {
		open("KMS key", fmt.Sprintf("%s, version %d", r.KMSKey, r.KMSKeyVersion), "the key that opens the DEK; it stays in the key service")
	}
	if len(r.ClientContext) > 0 {
		open("context", string(r.ClientContext), "what the client bound the DEK to")
	}
	if r.Manifest == (sse.ManifestID{}) {
		open("size", strconv.FormatInt(r.PlainSize, 10)+" bytes", "the object's size before encryption, which follows from what is stored, too")
	} else {
		open("manifest", fmt.Sprintf("%x", r.Manifest), "where the system bucket has, sealed, what was known only at the end of the write")
	}
	if len(r.SealedDEK) > 0 {
		sealed("DEK", shorten(base64.StdEncoding.EncodeToString(r.SealedDEK)), "the data key, sealed under the KMS key")
	}
	sealed("object key", "", "the key of the data, sealed under a key that is derived from the DEK and the object's name")
	sealed("ETag and checksums", "", "digests of the plaintext would tell which known file this is")
	open("the whole", shorten(text), fmt.Sprintf("%d bytes, as MinIO keeps them in the object's metadata", len(text)))
	return fields
}

// shorten leaves the beginning of a long text.
func shorten(text string) string {
	const most = 64
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
