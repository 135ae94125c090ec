package encryption_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// kmsRule is a rule under a KMS key.
func kmsRule(key string) bucketconfig.Rule {
	return bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: key}
}

func ruled(bucket string, rule bucketconfig.Rule) bucketconfig.BucketRule {
	return bucketconfig.BucketRule{Bucket: bucket, Algorithm: rule.Algorithm, KMSKeyID: rule.KMSKeyID}
}

// ruleOf gives a rule, and says that it was asked for it.
func ruleOf(rule bucketconfig.Rule, read *bool) func() (bucketconfig.Rule, error) {
	return func() (bucketconfig.Rule, error) {
		*read = true
		return rule, nil
	}
}

func TestARuleIsObeyedByEveryEngineOnceItIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := vaulttest.NewShelf(t, memory.Options{}, nil)
		other, ctx, read := s.Installation.Engine(t), t.Context(), false
		if _, err := other.Rule(ctx, vaulttest.Caller("alice"), vaulttest.Bucket); !errors.Is(err, encryption.ErrNoRule) {
			t.Fatalf("before there is one: %v", err)
		}
		for _, rule := range []bucketconfig.Rule{kmsRule("other"), {Algorithm: bucketconfig.AES256}, kmsRule("arn:aws:kms:default")} {
			if err := s.SetRule(ctx, vaulttest.Caller("alice"), vaulttest.Bucket, ruleOf(rule, &read)); err != nil || !read {
				t.Fatalf("%v: %v", rule, err)
			}
			// The copy that the other has is younger than its lease, or it has none.
			if got, err := other.Rule(ctx, vaulttest.Caller("alice"), vaulttest.Bucket); err != nil || got != rule {
				t.Errorf("another engine has %v, %v; want %v", got, err, rule)
			}
			if got, ok, err := other.Rules.Effective(ctx, vaulttest.Bucket); err != nil || !ok || got != rule {
				t.Errorf("another engine obeys %v, %v, %v; want %v", got, ok, err, rule)
			}
		}
		exported, err := other.ExportRules(ctx)
		if err != nil || len(exported) != 1 || exported[0].Bucket != vaulttest.Bucket {
			t.Fatalf("exported %v, %v", exported, err)
		}
		for range 2 { // the second time there is none
			if err := s.DropRule(ctx, vaulttest.Caller("alice"), vaulttest.Bucket); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := other.Rules.Effective(ctx, vaulttest.Bucket); ok || err != nil {
				t.Errorf("another engine obeys a rule that was dropped: %v", err)
			}
		}
		if missing, err := s.ImportRules(ctx, append(exported, ruled("nowhere", kmsRule("other")))); err != nil || !slices.Equal(missing, []string{"nowhere"}) {
			t.Errorf("import: %q, %v", missing, err)
		}
		if _, err := other.Rule(ctx, vaulttest.Caller("alice"), vaulttest.Bucket); err != nil {
			t.Errorf("imported: %v", err)
		}
		if err := s.Storage.DeleteBucket(vaulttest.Bucket); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // until dates of before are forgotten
		if err := s.BucketRemoved(ctx, vaulttest.Bucket); err != nil {
			t.Fatal(err)
		}
		if rules, err := other.ExportRules(ctx); err != nil || len(rules) > 0 {
			t.Errorf("the rule outlives its bucket: %v, %v", rules, err)
		}
	})
}

func TestRulesNeedKeysThatExist(t *testing.T) {
	t.Parallel()
	s, read := vaulttest.NewShelf(t, memory.Options{}, nil), false
	for key, want := range map[string]error{"missing": kms.ErrKeyNotFound, "a b": keyring.ErrKeyName, "system": kms.ErrNotPermitted} {
		if err := s.SetRule(t.Context(), vaulttest.Caller("alice"), vaulttest.Bucket, ruleOf(kmsRule(key), &read)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", key, err, want)
		}
		rules := []bucketconfig.BucketRule{ruled(vaulttest.Bucket, kmsRule("other")), ruled("b", kmsRule(key))}
		if _, err := s.ImportRules(t.Context(), rules); !errors.Is(err, want) {
			t.Errorf("import of %q: %v, want %v", key, err, want)
		}
		if rules, err := s.ExportRules(t.Context()); err != nil || len(rules) != 0 {
			t.Errorf("%q left %v, %v", key, rules, err)
		}
	}
	broken := errors.New("the document is none")
	if err := s.SetRule(t.Context(), vaulttest.Caller("alice"), vaulttest.Bucket, func() (bucketconfig.Rule, error) { return bucketconfig.Rule{}, broken }); !errors.Is(err, broken) {
		t.Errorf("a document that cannot be read: %v", err)
	}
}

func TestWhoMayNotChangeARuleLearnsNothing(t *testing.T) {
	t.Parallel()
	judge := &vaulttest.Rights{}
	s := vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) { i.Rights = judge })
	read := false
	if err := s.SetRule(t.Context(), vaulttest.Caller("alice"), vaulttest.Bucket, ruleOf(kmsRule("other"), &read)); err != nil {
		t.Fatal(err)
	}
	operations := map[string]func(c *caller.Caller) error{
		"set": func(c *caller.Caller) error {
			return s.SetRule(t.Context(), c, vaulttest.Bucket, ruleOf(kmsRule("default"), &read))
		},
		"get":  func(c *caller.Caller) error { _, err := s.Rule(t.Context(), c, vaulttest.Bucket); return err },
		"drop": func(c *caller.Caller) error { return s.DropRule(t.Context(), c, vaulttest.Bucket) },
	}
	for _, tt := range []struct {
		name   string
		caller *caller.Caller
		judge  error // of keys
		answer error // of the storage
		want   map[string]error
	}{
		{"nobody signed", vaulttest.Caller(""), nil, nil, map[string]error{"set": keyring.ErrAccess, "get": keyring.ErrAccess, "drop": keyring.ErrAccess}},
		{"no right there", vaulttest.Caller("alice"), nil, memory.Forbidden(), map[string]error{"set": storage.ErrForbidden, "get": storage.ErrForbidden, "drop": storage.ErrForbidden}},
		{"a storage that encrypts", vaulttest.Caller("alice"), nil, storage.ErrEncrypts, map[string]error{"set": storage.ErrEncrypts, "get": storage.ErrEncrypts, "drop": storage.ErrEncrypts}},
		{"no right to the key", vaulttest.Caller("alice"), identity.ErrNotAllowed, nil, map[string]error{"set": kms.ErrNotPermitted, "get": nil, "drop": keyring.ErrAccess}},
	} {
		judge.Judge = func(string) error { return tt.judge }
		s.Storage.SetRights(func(c *memory.Call) error {
			if !c.Own && slices.Contains([]memory.Op{memory.ReadRule, memory.WriteRule, memory.RemoveRule}, c.Op) {
				return tt.answer
			}
			return nil
		})
		for name, operation := range operations {
			read = false
			system := s.Watch(s.System.Bucket(), nil)
			if err := operation(tt.caller); !errors.Is(err, tt.want[name]) {
				t.Errorf("%s, %s: %v, want %v", tt.name, name, err, tt.want[name])
			}
			if calls := system.Took(); tt.want[name] != nil && len(calls) > 0 {
				t.Errorf("%s, %s: the system bucket was asked by %q", tt.name, name, calls)
			}
			if refused := tt.judge == nil; read && refused {
				t.Errorf("%s, %s: a document was read", tt.name, name)
			}
		}
	}
	judge.Judge = nil
	s.Storage.SetRights(nil)
	if rule, err := s.Rule(t.Context(), vaulttest.Caller("alice"), vaulttest.Bucket); err != nil || rule != kmsRule("other") {
		t.Errorf("the rule is %v, %v", rule, err)
	}
}

func TestRulesUsingAKey(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	rules := []bucketconfig.BucketRule{
		ruled("a", bucketconfig.Rule{Algorithm: bucketconfig.AES256}), ruled("b", kmsRule("")),
		ruled("c", kmsRule("arn:aws:kms:other")), ruled("d", kmsRule("other")), ruled("e", kmsRule("a b")),
	}
	for key, want := range map[string][]string{"s3": {"a"}, "default": {"b"}, "other": {"c", "d"}, "a b": nil} {
		if got := s.RulesUsing(rules, key); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// Only SSE-S3 has a choice of ETags, and the bucket that is written to makes it.
func TestBucketsDecideWhichETagsAreOpaque(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opaque, md5 []string
		mode        sse.Mode
		want        bool
	}{
		{nil, nil, sse.ModeS3, false},
		{[]string{"*"}, nil, sse.ModeS3, true},
		{[]string{"*"}, nil, sse.ModeNone, true}, // by default SSE-S3
		{[]string{"*"}, nil, sse.ModeKMS, false},
		{[]string{"other", vaulttest.Bucket[:2] + "*"}, nil, sse.ModeS3, true},
		{[]string{"other"}, nil, sse.ModeS3, false},
		{[]string{"*"}, []string{vaulttest.Bucket}, sse.ModeS3, false},
		{[]string{"*"}, []string{"other"}, sse.ModeS3, true},
	} {
		at := vaulttest.New(t, memory.Options{})
		at.Change = func(o *vaulttest.Options) { o.OpaqueETag, o.MD5ETag = tt.opaque, tt.md5 }
		asked := &encryption.Asked{Request: sse.Request{Mode: tt.mode}}
		decided, err := at.Engine(t).Of(t.Context(), vaulttest.Caller("writer"), vaulttest.Name("k"), nil, asked)
		if err != nil || decided.OpaqueETag != tt.want || decided.NeedsMD5() != (!tt.want && tt.mode == sse.ModeS3) {
			t.Errorf("%v of %v but %v: %+v, %v", tt.mode, tt.opaque, tt.md5, decided, err)
		}
	}
}
