{{- define "bucketseal.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "bucketseal.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "bucketseal.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bucketseal.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bucketseal.selector" -}}
app.kubernetes.io/name: {{ include "bucketseal.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bucketseal.labels" -}}
{{ include "bucketseal.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* A digest counts where there is one: a tag can be moved. */ -}}
{{- define "bucketseal.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default (printf "v%s" .Chart.AppVersion)) -}}
{{- end -}}
{{- end -}}

{{- define "bucketseal.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "bucketseal.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "bucketseal.tlsSecret" -}}
{{- if .Values.tls.existingSecret -}}
{{- .Values.tls.existingSecret -}}
{{- else if .Values.tls.certManager.enabled -}}
{{- include "bucketseal.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{- define "bucketseal.keyServerTLSSecret" -}}
{{- if .Values.keyServer.tls.existingSecret -}}
{{- .Values.keyServer.tls.existingSecret -}}
{{- else if .Values.tls.certManager.enabled -}}
{{- include "bucketseal.fullname" . }}-kms-tls
{{- else -}}
{{- fail "keyServer.tls.existingSecret is needed (tls.crt, tls.key and ca.crt), or tls.certManager.enabled" -}}
{{- end -}}
{{- end -}}

{{- define "bucketseal.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "bucketseal.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* What the chart sets, and over it what the values say. */ -}}
{{- define "bucketseal.config" -}}
{{- $own := dict
      "address" (printf ":%d" (int .Values.service.targetPort))
      "metrics" (dict "address" (printf ":%d" (int .Values.metrics.port)))
      "log" (dict "format" "json")
      "limits" (dict "drain" "15s" "shutdown" "30s") -}}
{{- if include "bucketseal.tlsSecret" . -}}
{{- $_ := set $own "tls" (dict "cert" "/etc/bucketseal-tls/tls.crt" "key" "/etc/bucketseal-tls/tls.key") -}}
{{- end -}}
{{- if .Values.console.enabled -}}
{{- if not (or $own.tls .Values.config.tls .Values.console.plainHTTP) -}}
{{- fail "console.enabled needs a certificate (tls), or console.plainHTTP behind something that has TLS: secret keys are typed in there" -}}
{{- end -}}
{{- if has (int .Values.console.port) (list (int .Values.service.targetPort) (int .Values.metrics.port)) -}}
{{- fail "console.port is S3's or that of metrics: it needs its own" -}}
{{- end -}}
{{- $_ := set $own "console" (dict
      "address" (printf ":%d" (int .Values.console.port))
      "plain_http" .Values.console.plainHTTP
      "session" .Values.console.session) -}}
{{- end -}}
{{- if .Values.keyServer.enabled -}}
{{- $_ := set $own "kms" (dict "remote" (dict
      "endpoints" (list (printf "https://%s-kms.%s.svc:7373" (include "bucketseal.fullname" .) .Release.Namespace))
      "api_key" "${MINIO_KES_API_KEY}"
      "ca" "/etc/bucketseal-kms-ca/ca.crt")) -}}
{{- end -}}
{{- if not .Values.config.upstream -}}
{{- fail "config.upstream.endpoint is needed: the MinIO that stores the objects" -}}
{{- end -}}
{{- if not (or .Values.keyServer.enabled .Values.config.kms) -}}
{{- fail "keys are needed: keyServer.enabled, or config.kms for another place; data_dir is no place for more than one proxy" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) -}}
{{- end -}}
