package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// A client's request is one trace: what the proxy did, and what the key server did for it.
func TestOneTraceThroughProxyAndKeyServer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	collector := newTraceCollector(t)
	proxy := newAPIKey(t)
	// The server's own share is none: it is the proxy's flag that counts.
	tracing := fmt.Sprintf("tracing: {endpoint: \"%s\", sample_ratio: %%s, service_name: %%s, headers: [\"Authorization=Bearer collector-token\"]}\n", collector.URL)
	k := startKMS(t, kesYAML+"  proxies: {bucketseal: true, allow: [\"/v1/*\"], identities: [\"${PROXY}\"]}\n"+
		"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n"+fmt.Sprintf(tracing, "0", "keys"),
		"PROXY="+proxy.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	minio, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	seal, err := startSealWith(t.TempDir(), minio.endpoint(), k.remoteYAML(t, minio.dir, proxy, fmt.Sprintf(tracing, "1", "proxy")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	waitFor(t, startLimit, "the proxy to be ready", seal.isReady)
	mustSeal(t, k.as(k.admin), "", "key", "create", "traced-key")
	c := newClient(seal.endpoint(), rootUser, rootPassword)
	bucket := newBucket(t, c)
	header, id := traceOf(7)
	c.put(t, bucket, "secret-object-name", []byte("data"), withAll(kmsWith("traced-key"), header)).wantStatus(t, http.StatusOK)

	// Each server sends its spans when it has some.
	var tree spanTree
	var own *tracepb.Span
	waitFor(t, startLimit, "the spans of both servers", func() bool {
		tree, own = collector.trace(t, id), nil
		whole := false
		for _, s := range tree {
			whole = whole || attribute(s, "bucketseal.operation") == "PutObject"
			if attribute(s, "bucketseal.operation") == "kes:key/generate" {
				own = s
			}
		}
		return whole && own != nil
	})
	if !below(tree, own, "kms GenerateDEK") || attribute(own, "http.response.status_code") != "200" {
		t.Errorf("%v is below no call of the proxy's: %v", own, tree)
	}
	if i := slices.IndexFunc(tree, func(s *tracepb.Span) bool { return s.Name == "keystore" }); i < 0 || !below(tree, tree[i], "request") {
		t.Errorf("the key store is not below the key server's request: %v", tree)
	}
	text, _, auth := collector.seen()
	for _, secret := range []string{"secret-object-name", "traced-key", "collector-token", k.minio.id, proxy.id} {
		if strings.Contains(string(text), secret) {
			t.Errorf("traces tell %s", secret)
		}
	}
	for _, a := range auth {
		if a != "Bearer collector-token" {
			t.Errorf("the collector was asked with %q", a)
		}
	}
	if out := k.logSince(0); strings.Contains(out, "collector-token") {
		t.Error("the key server's log has the collector's token")
	}
}

// below says whether the parent of a span is one of that name.
func below(tree spanTree, s *tracepb.Span, name string) bool {
	return slices.ContainsFunc(tree, func(other *tracepb.Span) bool {
		return other.Name == name && bytes.Equal(other.SpanId, s.ParentSpanId)
	})
}
