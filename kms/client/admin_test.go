package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
)

func TestDescriptionsOfAServer(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	ctx := t.Context()
	if v, err := c.Version(ctx); err != nil || v != (client.Version{Version: "2026-01-01", Commit: "abc"}) {
		t.Errorf("version %+v, %v", v, err)
	}
	fake.raw["/v1/status"] = `{"version":"v","os":"linux","arch":"amd64","uptime":90,"num_cpu":4,"num_cpu_used":2,"mem_heap_used":1,"mem_stack_used":2,"keystore_latency":24000000}`
	s, err := c.ServerStatus(ctx)
	if err != nil || s.UpTime != 90*time.Second || s.StoreLatency != 24*time.Millisecond || s.CPUs != 4 || s.UsableCPUs != 2 || s.StoreDown {
		t.Errorf("status %+v, %v", s, err)
	}
	for _, body := range []string{`{"keystore_unreachable":true}`, `{"keystore_unreachable":true,"keystore_unavailable":true}`} {
		fake.raw["/v1/status"] = body
		if s, err := c.ServerStatus(ctx); err != nil || !s.StoreDown {
			t.Errorf("status %+v, %v", s, err)
		}
	}
	fake.raw["/v1/api"] = `[{"method":"PUT","path":"/v1/key/create/","max_body":0,"timeout":15}]`
	if apis, err := c.APIs(ctx); err != nil || !slices.Equal(apis, []client.API{{Method: "PUT", Path: "/v1/key/create/", Timeout: 15}}) {
		t.Errorf("APIs %+v, %v", apis, err)
	}
	fake.raw["/v1/metrics"] = "kes_system_num_cpu 4\n"
	if text, err := c.Metrics(ctx); err != nil || string(text) != "kes_system_num_cpu 4\n" {
		t.Errorf("metrics %q, %v", text, err)
	}
}

func TestPoliciesAndIdentities(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	ctx := t.Context()
	fake.raw["/v1/policy/list/"] = `{"names":["b","a"]}`
	if got, err := c.ListPolicies(ctx, ""); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("policies %q, %v", got, err)
	}
	fake.raw["/v1/policy/read/"] = `{"name":"a","allow":{"/v1/key/*":{},"/v1/api":{}},"deny":{"/v1/key/delete/*":{}},"created_at":"2026-01-02T03:04:05Z","created_by":"x"}`
	p, err := c.ReadPolicy(ctx, "a")
	if err != nil || !slices.Equal(p.Allow, []string{"/v1/api", "/v1/key/*"}) || !slices.Equal(p.Deny, []string{"/v1/key/delete/*"}) || p.CreatedBy != "x" {
		t.Errorf("policy %+v, %v", p, err)
	}
	fake.inject("/v1/policy/describe/", fault{status: 404, message: "policy does not exist"})
	_, err = c.DescribePolicy(ctx, "none")
	wantErr(t, err, client.ErrPolicyNotFound)
	fake.raw["/v1/identity/list/"] = `{"identities":["01ab"]}`
	if got, err := c.ListIdentities(ctx, "01"); err != nil || !slices.Equal(got, []string{"01ab"}) {
		t.Errorf("identities %q, %v", got, err)
	}
	fake.raw["/v1/identity/describe/"] = `{"policy":"a","created_at":"2026-01-02T03:04:05Z"}`
	if id, err := c.DescribeIdentity(ctx, "01ab"); err != nil || id.Policy != "a" || id.Admin || id.Identity != "01ab" {
		t.Errorf("identity %+v, %v", id, err)
	}
	fake.raw["/v1/identity/self/describe"] = `{"identity":"01ab","policy":"a","allow":{"/v1/api":{}}}`
	if id, err := c.DescribeSelf(ctx); err != nil || id.Identity != "01ab" || !slices.Equal(id.Allow, []string{"/v1/api"}) {
		t.Errorf("self %+v, %v", id, err)
	}
}

func TestLogStreams(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	goOn := make(chan struct{})
	next := fake.Config.Handler
	fake.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/log/audit" && r.URL.Path != "/v1/log/error" {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-goOn
		if r.URL.Path == "/v1/log/error" {
			fmt.Fprintln(w, `{"message":"level=ERROR msg=x"}`)
			return
		}
		fmt.Fprintln(w, `{"time":"2026-01-02T03:04:05Z","request":{"ip":"127.0.0.1","path":"/v1/key/create/k","identity":"01ab"},"response":{"code":200,"time":5000000}}`)
	})
	c := dial(t, fake)
	audit, err := c.AuditLog(t.Context()) // comes back before the first event
	must(t, err)
	defer audit.Close()
	errorsLog, err := c.ErrorLog(t.Context())
	must(t, err)
	defer errorsLog.Close()
	close(goOn)
	e, err := audit.Next()
	if err != nil || e.Path != "/v1/key/create/k" || e.Code != 200 || e.Duration != 5*time.Millisecond || e.Identity != "01ab" || e.IP != "127.0.0.1" {
		t.Errorf("event %+v, %v", e, err)
	}
	if _, err := audit.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if e, err := errorsLog.Next(); err != nil || e.Message != "level=ERROR msg=x" {
		t.Errorf("event %+v, %v", e, err)
	}
}

func TestLogStreamRefused(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	fake.inject("/v1/log/audit", fault{status: 403, message: "not authorized: insufficient permissions"})
	_, err := dial(t, fake).AuditLog(t.Context())
	wantErr(t, err, kms.ErrNotPermitted)
}
