package integration

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// sessionWith gets a session of c's user that may do what the statements let it.
func sessionWith(t *testing.T, c *client, statements ...string) session {
	t.Helper()
	form := url.Values{
		"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "DurationSeconds": {"900"},
		"Policy": {`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`},
	}
	body := []byte(form.Encode())
	req, err := http.NewRequest(http.MethodPost, c.endpoint+"/", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c.signSTS(req, body)
	a, err := c.roundTrip(req, "AssumeRole")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string } `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.Unmarshal(a.wantStatus(t, http.StatusOK).body, &got); err != nil {
		t.Fatal(err)
	}
	return session{got.Credentials.AccessKeyId, got.Credentials.SecretAccessKey, got.Credentials.SessionToken}
}

// signSTS signs a form for the Security Token Service.
func (c *client) signSTS(req *http.Request, body []byte) {
	at := c.now().UTC()
	req.Header.Set("X-Amz-Date", at.Format(amzTime))
	day := at.Format("20060102")
	canonical := fmt.Sprintf("POST\n/\n\nhost:%s\nx-amz-date:%s\n\nhost;x-amz-date\n%s", req.URL.Host, at.Format(amzTime), sha256Hex(body))
	place := day + "/us-east-1/sts/aws4_request"
	key := []byte("AWS4" + c.secret)
	for _, part := range strings.Split(place, "/") {
		key = hmacSHA256(key, part)
	}
	sum := hmacSHA256(key, strings.Join([]string{signAlgorithm, at.Format(amzTime), place, sha256Hex([]byte(canonical))}, "\n"))
	req.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=host;x-amz-date, Signature=%x", signAlgorithm, c.access, place, sum))
}

// statement writes one of a policy on all buckets. Conditions are
// "OPERATOR KEY VALUE"; a value in brackets is a list.
func statement(effect, action string, conditions ...string) string {
	all := map[string]map[string]any{}
	for _, c := range conditions {
		f := strings.SplitN(c, " ", 3)
		if all[f[0]] == nil {
			all[f[0]] = map[string]any{}
		}
		all[f[0]][f[1]] = f[2]
	}
	s := map[string]any{"Effect": effect, "Action": []string{action}, "Resource": []string{"arn:aws:s3:::*"}}
	if len(all) > 0 {
		s["Condition"] = all
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// allowAll is the statement beside one that denies.
func allowAll() string { return statement("Allow", "s3:*") }

// asked is one way to ask, on either side, as whoever has a policy.
type asked func(t *testing.T, c *client, token string) answer

// plainly sends r signed in its headers.
func plainly(r request) asked {
	return func(t *testing.T, c *client, token string) answer {
		t.Helper()
		r := r
		r.token = token
		return c.do(t, r)
	}
}

// presigned sends r by a link that is age old.
func presigned(r request, age time.Duration) asked {
	return func(t *testing.T, c *client, token string) answer {
		t.Helper()
		old := *c
		old.now = func() time.Time { return c.now().Add(-age) }
		link := old.presign(r.method, r.bucket, r.key, time.Hour, "X-Amz-Security-Token", token)
		req, err := http.NewRequest(r.method, link, strings.NewReader(string(r.body)))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range r.header {
			req.Header.Set(name, value)
		}
		a, err := c.roundTrip(req, r.method+" by a link")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// posted sends a browser form with a file and the fields given.
func posted(bucket string, fields ...[2]string) asked {
	return func(t *testing.T, c *client, token string) answer {
		t.Helper()
		f := postForm{fields: append([][2]string{{"key", "posted"}, {"x-amz-security-token", token}}, fields...), file: []byte("file")}
		return c.anonymous().do(t, f.request(c, bucket))
	}
}
