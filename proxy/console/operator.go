package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// maxKeys bounds the KMS keys that one page describes: each is asked for.
const maxKeys = 100

// keys shows the KMS keys to those who may administer them, which the proxy decides.
func (c *Console) keys(v *visit) error {
	prefix := v.URL.Query().Get("prefix")
	a, err := c.ask(v, &request{method: http.MethodGet, path: "/minio/kms/v1/key/list", query: url.Values{"pattern": {prefix + "*"}}})
	if err == nil {
		err = a.failure()
	}
	if err != nil {
		return err
	}
	var list []struct{ Name string }
	if err := json.Unmarshal(a.body.Bytes(), &list); err != nil {
		return err
	}
	names := make([]string, 0, len(list))
	for _, one := range list[:min(len(list), maxKeys)] {
		names = append(names, one.Name)
	}
	scan, err := c.scanOf(v)
	if err != nil {
		c.log.Warn("the console cannot read what uses the keys", "error", err)
	}
	keys := c.o.Facts.Keys(v.Context(), names)
	for i := range keys {
		keys[i].Objects = -1
		if scan != nil {
			keys[i].Objects = scan.Keys[keys[i].Name]
		}
	}
	v.page.Title, v.page.Notice = "KMS keys", notice(v.URL.Query().Get("done"))
	return c.show(v, http.StatusOK, "keys", map[string]any{"Keys": keys, "Prefix": prefix, "Left": len(list) - len(names), "Scan": scan})
}

// identities shows who may sign requests.
func (c *Console) identities(v *visit) error {
	all, err := c.o.Facts.Identities(v.Context())
	if err != nil {
		return err
	}
	v.page.Title = "Identities"
	return c.show(v, http.StatusOK, "identities", all)
}

// health shows how MinIO and the key service are and were, and what the doctor says.
func (c *Console) health(v *visit) error {
	c.history.see(c.now(), c.o.Facts.State())
	v.page.Title = "Health"
	return c.show(v, http.StatusOK, "health", map[string]any{
		"State": c.o.Facts.State(), "History": c.history.latest(), "Findings": c.o.Facts.Findings(),
	})
}

// refusals shows what was refused, and what was not as it was written.
func (c *Console) refusals(v *visit) error {
	v.page.Title = "Refusals"
	return c.show(v, http.StatusOK, "refusals", map[string]any{"Refusals": c.o.Recent.Refusals(), "Damage": c.o.Recent.Damage()})
}

// configuration shows the configuration in force.
func (c *Console) configuration(v *visit) error {
	v.page.Title = "Configuration"
	return c.show(v, http.StatusOK, "configuration", c.o.Facts.Settings())
}

const (
	// maxLines bounds the lines that a search shows, and searchTime how long it takes.
	maxLines   = 100
	searchTime = 20 * time.Second
)

// audit searches the audit log.
func (c *Console) audit(v *visit) error {
	q := v.URL.Query()
	field := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	find := trail.Query{
		Bucket: field("bucket"), Object: field("object"), Target: field("target"), AccessKey: field("access_key"), KMSKey: field("kms_key"),
		Request: field("request"), Operation: field("op"), Outcome: field("outcome"), Limit: maxLines,
	}
	data := map[string]any{
		"Query": find, "Since": field("since"), "Asked": q.Has("bucket"),
		"Outcomes": []string{"", audit.OK, audit.Refused, audit.Failed, audit.Cut, audit.Allowed},
	}
	if since := field("since"); since != "" {
		age, err := time.ParseDuration(since)
		if err != nil || age <= 0 {
			data["Asked"], data["Problem"] = false, "“"+since+"” is no duration; write 30m, 24h or 168h."
		}
		find.Since = c.now().Add(-age)
	}
	v.page.Title = "Audit"
	if data["Asked"] == false {
		return c.show(v, http.StatusOK, "audit", data)
	}
	select {
	case c.searches <- struct{}{}:
		defer func() { <-c.searches }()
	default:
		return errBusy
	}
	ctx, cancel := context.WithTimeout(v.Context(), searchTime)
	defer cancel()
	lines, more, err := c.o.Facts.Search(ctx, find)
	if err != nil {
		return err
	}
	data["Lines"], data["More"] = lines, more
	return c.show(v, http.StatusOK, "audit", data)
}
