package awsapi

import "testing"

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                       "",
		"  ":                                     "",
		"secretsmanager.eu-west-1.amazonaws.com": "https://secretsmanager.eu-west-1.amazonaws.com",
		"127.0.0.1:5000":                         "https://127.0.0.1:5000",
		"http://127.0.0.1:5000":                  "http://127.0.0.1:5000",
		"https://host/":                          "https://host",
		"[::1]:5000":                             "https://[::1]:5000",
		"https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com": "https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com",
	} {
		if got, err := ParseEndpoint(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"https://", "http://secretsmanager.example.org", "http://10.0.0.7:5000", "ftp://host", "host/path", "https://u:p@host", "host?x=1", "https://h#f", "a b", "secretsmanager.REGION.amazonaws"} {
		if got, err := ParseEndpoint(in); err == nil {
			t.Errorf("%q: accepted as %q", in, got)
		}
	}
}

func TestKMSEndpointNeverSendsPrivateCredentialsToAWS(t *testing.T) {
	t.Parallel()
	tests := []struct{ explicit, other, want string }{
		{"", "", ""},
		{"", "https://secretsmanager.us-east-1.amazonaws.com", ""},
		{"", "https://vpce-1.secretsmanager.us-east-1.vpce.amazonaws.com", ""},
		{"", "https://secretsmanager.cn-north-1.amazonaws.com.cn", ""},
		{"", "http://127.0.0.1:5000", "http://127.0.0.1:5000"},
		{"", "https://amazonaws.com.example.org", "https://amazonaws.com.example.org"},
		{"kms.example.org", "http://127.0.0.1:5000", "https://kms.example.org"},
	}
	for _, tt := range tests {
		if got, err := KMSEndpoint(tt.explicit, tt.other); err != nil || got != tt.want {
			t.Errorf("%+v: got %q, %v", tt, got, err)
		}
	}
}
