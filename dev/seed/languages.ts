/** What customers and an agent say to each other in one language. `{…}` is filled in: see talk.ts. */
export interface Language {
  /** Of a hundred chats, how many are in it. */
  share: number;
  names: string[];
  products: string[];
  places: string[];
  days: string[];
  opening: string[];
  /** For each of `topics`: what the user wants, and what the agent does about it. */
  problem: string[];
  solution: string[];
  asking: string[];
  detail: string[];
  checking: string[];
  more: string[];
  thanks: string[];
  complaint: string[];
  closing: string[];
}

/** What a chat is about. */
export const topics = ["order", "refund", "address", "appointment", "account", "fault"] as const;

/** By their code in BCP 47. */
export const languages: Record<string, Language> = {
  en: {
    share: 40,
    names: ["Grace", "Oliver", "Priya", "Samuel", "Hannah", "Liam", "Zoe", "Marcus"],
    products: ["desk lamp", "rain jacket", "coffee grinder", "phone case", "camping tent", "baby stroller"],
    places: ["Manchester", "Boston", "Melbourne", "Dublin", "Toronto", "Cape Town"],
    days: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    opening: [
      "Hi {name}, thanks for reaching out. What can I do for you?",
      "Hello, you are talking to the support desk. How can I help?",
    ],
    problem: [
      "Where is my parcel? I ordered a {product} and it should have been here on {day}.",
      "I sent the {product} back two weeks ago and still have no refund. It was {amount}.",
      "I am moving to {place}. Can you change the delivery address of order {order}?",
      "I need to move my appointment from {day} to another day, something came up at work.",
      "The website locks me out. It says that my password has expired and the reset link never arrives.",
      "The {product} stopped working after one week 😞 and the screws were missing from the start.",
    ],
    solution: [
      "I have found it: the carrier has your {product} in {place} and delivers it on {day} before noon.",
      "The warehouse has confirmed your return. We have just transferred {amount}, which takes three working days.",
      "Done. The parcel now goes to {place}. You will get a new confirmation by e-mail in a few minutes.",
      "I can offer you {day} at half past ten, with the same technician. I have reserved it for you.",
      "I have unlocked your account and sent a fresh link. It is valid for one hour, so please use it soon.",
      "That should not happen. We send you a replacement for the {product}, and the courier takes the broken one along.",
    ],
    asking: [
      "Could you tell me the order number, please?",
      "I am sorry to hear that. Which e-mail address did you use?",
      "Let me have a look. Was the box damaged when it arrived?",
    ],
    detail: [
      "It is {order}, placed under my husband's name.",
      "Sure, the number is {order}. I paid by credit card.",
      "I think {order}, but the receipt is hard to read.",
    ],
    checking: [
      "One moment, I am asking the warehouse in {place}.",
      "Thank you. I see two deliveries, and one of them is delayed by the weather.",
      "The system is a bit slow today, please bear with me.",
    ],
    more: [
      "Will somebody call before they come?",
      "Could I get an invoice with the company's tax number as well?",
      "And is there still a discount on the {product}?",
      "My neighbour can sign for it, if that is easier.",
      "Please do not send it on {day}, nobody is at home.",
    ],
    thanks: ["Perfect, thank you so much!", "Great, that is all I needed 👍", "Thanks a lot, you have been very kind."],
    complaint: [
      "This is the third time I am asking. I am really disappointed.",
      "Frankly, that does not help me at all. I will cancel everything.",
      "Unbelievable. Nobody keeps a promise here.",
    ],
    closing: ["You are welcome. Have a lovely day!", "I have noted that for my colleagues. Is there anything else?"],
  },
  es: {
    share: 14,
    names: ["Lucía", "Mateo", "Carmen", "Javier", "Sofía", "Andrés"],
    products: ["cafetera", "mochila", "bicicleta plegable", "cámara", "silla de oficina", "chaqueta"],
    places: ["Sevilla", "Bogotá", "Valencia", "Rosario", "Monterrey", "Málaga"],
    days: ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado"],
    opening: ["Hola, {name}. ¿En qué te puedo ayudar?", "Buenos días, le atiende el servicio de clientes."],
    problem: [
      "¿Dónde está mi pedido? Compré una {product} y tenía que llegar el {day}.",
      "Devolví la {product} hace dos semanas y todavía no me han reembolsado {amount}.",
      "Me mudo a {place}. ¿Pueden cambiar la dirección de envío del pedido {order}?",
      "Necesito cambiar mi cita del {day}, me ha surgido un imprevisto en el trabajo.",
      "No puedo entrar en mi cuenta: dice que la contraseña ha caducado y el enlace no llega.",
      "La {product} dejó de funcionar a la semana 😞 y faltaban los tornillos.",
    ],
    solution: [
      "Ya lo encontré: el transportista tiene tu {product} en {place} y la entrega el {day} por la mañana.",
      "El almacén ha confirmado la devolución. Acabamos de transferir {amount}; tarda tres días laborables.",
      "Hecho. El paquete va ahora a {place}. Recibirás una nueva confirmación por correo.",
      "Te puedo ofrecer el {day} a las diez y media, con el mismo técnico. Queda reservado.",
      "He desbloqueado tu cuenta y te he enviado otro enlace, válido durante una hora.",
      "Eso no debería pasar. Te enviamos otra {product} y el mensajero recoge la averiada.",
    ],
    asking: [
      "¿Me dices el número de pedido, por favor?",
      "Lo siento mucho. ¿Con qué correo hiciste la compra?",
      "Déjame mirar. ¿La caja llegó dañada?",
    ],
    detail: [
      "Es el {order}, a nombre de mi marido.",
      "Claro, el número es {order}. Pagué con tarjeta.",
      "Creo que {order}, pero el recibo se lee mal.",
    ],
    checking: [
      "Un momento, pregunto al almacén de {place}.",
      "Gracias. Veo dos envíos y uno va con retraso por la lluvia.",
      "Hoy el sistema va lento, un poco de paciencia.",
    ],
    more: [
      "¿Me llamarán antes de venir?",
      "¿Podrían mandarme también la factura con el NIF de la empresa?",
      "¿Sigue habiendo descuento en la {product}?",
      "Mi vecina puede firmar si hace falta.",
      "El {day} no, que no hay nadie en casa.",
    ],
    thanks: ["¡Perfecto, muchísimas gracias!", "Genial, era todo 👍", "Gracias, muy amable."],
    complaint: [
      "Es la tercera vez que lo pregunto. Estoy muy decepcionada.",
      "La verdad, así no me sirve. Voy a cancelarlo todo.",
      "Increíble, nadie cumple lo que promete.",
    ],
    closing: ["De nada. ¡Que tengas un buen día!", "Lo dejo anotado para mis compañeros. ¿Algo más?"],
  },
  de: {
    share: 14,
    names: ["Jürgen", "Anna", "Lukas", "Sabine", "Mehmet", "Katharina"],
    products: ["Kaffeemühle", "Regenjacke", "Schreibtischlampe", "Waschmaschine", "Sonnenbrille", "Fahrradtasche"],
    places: ["Köln", "Zürich", "Leipzig", "Graz", "Hamburg", "Nürnberg"],
    days: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag"],
    opening: ["Guten Tag, {name}. Wie kann ich Ihnen helfen?", "Hallo, hier ist der Kundendienst. Worum geht es?"],
    problem: [
      "Wo bleibt mein Paket? Die {product} sollte am {day} ankommen.",
      "Ich habe die {product} vor zwei Wochen zurückgeschickt und noch keine Erstattung über {amount} bekommen.",
      "Ich ziehe nach {place} um. Können Sie die Lieferadresse der Bestellung {order} ändern?",
      "Ich muss meinen Termin am {day} verschieben, mir ist etwas dazwischengekommen.",
      "Ich komme nicht mehr in mein Benutzerkonto: Das Passwort ist abgelaufen und der Link kommt nicht an.",
      "Die {product} ist nach einer Woche kaputtgegangen 😞 und die Schrauben fehlten von Anfang an.",
    ],
    solution: [
      "Gefunden: Die {product} liegt beim Zusteller in {place} und kommt am {day} vormittags.",
      "Das Lager hat Ihre Rücksendung bestätigt. Wir haben soeben {amount} überwiesen, das dauert drei Werktage.",
      "Erledigt. Das Paket geht jetzt nach {place}. Sie bekommen gleich eine neue Auftragsbestätigung.",
      "Ich kann Ihnen {day} um halb elf anbieten, beim selben Techniker. Der Termin ist reserviert.",
      "Ihr Konto ist wieder frei. Der neue Link gilt eine Stunde, bitte benutzen Sie ihn bald.",
      "Das darf nicht passieren. Wir schicken Ihnen Ersatz für die {product}, der Bote nimmt das defekte Gerät mit.",
    ],
    asking: [
      "Nennen Sie mir bitte die Bestellnummer?",
      "Das tut mir leid. Mit welcher E-Mail-Adresse haben Sie bestellt?",
      "Ich sehe nach. War die Verpackung beschädigt?",
    ],
    detail: [
      "Es ist die {order}, auf den Namen meines Mannes.",
      "Gerne, die Nummer lautet {order}. Bezahlt habe ich per Überweisung.",
      "Ich glaube {order}, aber die Quittung ist schlecht lesbar.",
    ],
    checking: [
      "Einen Augenblick, ich frage im Lager in {place} nach.",
      "Danke. Ich sehe zwei Lieferungen, eine verspätet sich wegen des Wetters.",
      "Das System ist heute etwas langsam, bitte haben Sie Geduld.",
    ],
    more: [
      "Ruft vorher jemand an?",
      "Könnte ich auch eine Rechnung mit Umsatzsteuernummer bekommen?",
      "Gibt es auf die {product} noch Rabatt?",
      "Die Straße steht noch nicht im Navi. Notfalls nimmt es meine Nachbarin an.",
      "Am {day} bitte nicht, da ist niemand zu Hause.",
    ],
    thanks: ["Wunderbar, vielen herzlichen Dank!", "Super, das war alles 👍", "Danke schön, sehr freundlich."],
    complaint: [
      "Ich frage jetzt zum dritten Mal. Ich bin wirklich enttäuscht.",
      "Das hilft mir überhaupt nicht. Ich storniere alles.",
      "Unglaublich, hier hält niemand ein Versprechen.",
    ],
    closing: [
      "Gern geschehen. Einen schönen Tag noch!",
      "Ich habe es für die Kollegen vermerkt. Kann ich sonst etwas tun?",
    ],
  },
  ar: {
    share: 6,
    names: ["فاطمة", "يوسف", "ليلى", "عمر", "سارة"],
    products: ["الحقيبة", "السماعات", "الكاميرا", "المكواة", "الدراجة"],
    places: ["القاهرة", "الرياض", "عمّان", "دبي", "تونس"],
    days: ["الأحد", "الاثنين", "الثلاثاء", "الأربعاء", "الخميس"],
    opening: ["أهلاً {name}، كيف يمكنني مساعدتك؟", "مرحباً بك في خدمة العملاء."],
    problem: [
      "أين طلبي؟ كان من المفترض أن تصل {product} يوم {day}.",
      "أعدت {product} قبل أسبوعين ولم أستلم المبلغ {amount} حتى الآن.",
      "سأنتقل إلى {place}، هل يمكنكم تغيير عنوان التوصيل للطلب {order}؟",
      "أريد تأجيل موعدي يوم {day} لأن لدي عملاً طارئاً.",
      "لا أستطيع الدخول إلى حسابي، كلمة المرور منتهية والرابط لا يصل.",
      "توقفت {product} عن العمل بعد أسبوع 😞 وكانت القطع ناقصة.",
    ],
    solution: [
      "وجدتها: {product} عند شركة الشحن في {place} وستصل صباح يوم {day}.",
      "أكد المستودع استلام المرتجع، وحوّلنا {amount} الآن، ويستغرق ذلك ثلاثة أيام عمل.",
      "تم. سيذهب الطرد إلى {place} وستصلك رسالة تأكيد جديدة.",
      "أستطيع أن أعرض عليك يوم {day} الساعة العاشرة والنصف مع الفني نفسه.",
      "فتحت حسابك وأرسلت رابطاً جديداً صالحاً لمدة ساعة.",
      "نعتذر عن ذلك. سنرسل لك بديلاً ويستلم المندوب {product} المعطلة.",
    ],
    asking: [
      "ما هو رقم الطلب من فضلك؟",
      "يؤسفني ذلك. ما البريد الإلكتروني الذي استخدمته؟",
      "هل كانت العلبة متضررة عند الاستلام؟",
    ],
    detail: [
      "الرقم هو {order} باسم زوجي.",
      "بالتأكيد، {order}. دفعت ببطاقة الائتمان.",
      "أعتقد أنه {order} لكن الفاتورة غير واضحة.",
    ],
    checking: [
      "لحظة من فضلك، أسأل المستودع في {place}.",
      "شكراً. أرى شحنتين، إحداهما متأخرة بسبب الطقس.",
      "النظام بطيء اليوم، نرجو الانتظار.",
    ],
    more: [
      "هل سيتصل أحد قبل الحضور؟",
      "هل يمكن إرسال الفاتورة مع الرقم الضريبي؟",
      "هل ما زال هناك خصم على {product}؟",
      "جارتي تستطيع التوقيع بدلاً مني.",
      "ليس يوم {day} لأن لا أحد في البيت.",
    ],
    thanks: ["ممتاز، شكراً جزيلاً!", "رائع، هذا كل ما أحتاجه 👍", "شكراً لك على لطفك."],
    complaint: [
      "هذه المرة الثالثة التي أسأل فيها، أنا محبطة جداً.",
      "هذا لا يساعدني إطلاقاً، سألغي كل شيء.",
      "غير معقول، لا أحد يفي بوعده.",
    ],
    closing: ["على الرحب والسعة، أتمنى لك يوماً سعيداً!", "سجلت ذلك للزملاء. هل من شيء آخر؟"],
  },
  zh: {
    share: 7,
    names: ["王伟", "李娜", "张敏", "刘洋", "陈静"],
    products: ["咖啡机", "登山鞋", "蓝牙耳机", "婴儿车", "台灯"],
    places: ["上海", "成都", "广州", "杭州", "台北"],
    days: ["星期一", "星期二", "星期三", "星期四", "星期五"],
    opening: ["您好，{name}，请问有什么可以帮您？", "您好，这里是客户服务中心。"],
    problem: [
      "我的包裹在哪里？订的{product}本来应该{day}到。",
      "我两个星期前把{product}退回去了，{amount}的退款还没有收到。",
      "我要搬到{place}，订单{order}的收货地址可以修改吗？",
      "我{day}的预约需要改时间，公司临时有事。",
      "我登录不了账户，提示密码过期，重置链接一直收不到。",
      "{product}用了一个星期就坏了😞，而且一开始就少了螺丝。",
    ],
    solution: [
      "找到了，快递公司已经把{product}送到{place}，{day}上午派送。",
      "仓库已经确认收到退货，刚才退款{amount}，三个工作日到账。",
      "已经修改好了，包裹会送到{place}，您很快会收到新的确认邮件。",
      "可以安排{day}上午十点半，还是同一位师傅，已经为您预留。",
      "账户已经解锁，新的链接一个小时内有效，请尽快使用。",
      "非常抱歉，我们给您换一台新的{product}，快递员会取走坏的。",
    ],
    asking: ["请告诉我订单号码好吗？", "很抱歉。您购买时用的是哪个邮箱？", "我查一下，收到的时候包装有没有损坏？"],
    detail: [
      "号码是{order}，用我先生的名字下的单。",
      "好的，{order}，是用信用卡付款的。",
      "好像是{order}，收据看不清楚。",
    ],
    checking: [
      "请稍等，我问一下{place}的仓库。",
      "谢谢，我看到两个包裹，其中一个因为天气延误了。",
      "今天系统有点慢，请您耐心等待。",
    ],
    more: [
      "送货之前会打电话吗？",
      "可以开一张公司抬头的发票吗？",
      "{product}现在还有优惠吗？",
      "邻居可以帮我签收。",
      "{day}不要送，家里没有人。",
    ],
    thanks: ["太好了，非常感谢！", "没有别的问题了👍", "谢谢您，服务很周到。"],
    complaint: [
      "这已经是第三次问了，我真的很失望。",
      "这样根本解决不了问题，我要取消全部订单。",
      "太过分了，没有人说话算数。",
    ],
    closing: ["不客气，祝您生活愉快！", "我已经记录下来转给同事，还有其他问题吗？"],
  },
  ja: {
    share: 7,
    names: ["佐藤", "鈴木", "高橋", "田中", "渡辺"],
    products: ["コーヒーメーカー", "登山靴", "イヤホン", "ベビーカー", "デスクライト"],
    places: ["大阪", "札幌", "名古屋", "福岡", "横浜"],
    days: ["月曜日", "火曜日", "水曜日", "木曜日", "金曜日"],
    opening: [
      "{name}様、お問い合わせありがとうございます。どのようなご用件でしょうか。",
      "こんにちは、カスタマーサポートです。",
    ],
    problem: [
      "注文した{product}が{day}に届くはずなのに、まだ来ていません。",
      "二週間前に{product}を返品しましたが、{amount}の返金がまだです。",
      "{place}に引っ越すので、注文番号{order}の配送先を変更できますか。",
      "{day}の予約を変更したいです。急な仕事が入りました。",
      "アカウントにログインできません。パスワードの有効期限が切れて、メールも届きません。",
      "{product}が一週間で壊れました😞 最初からネジも足りませんでした。",
    ],
    solution: [
      "確認できました。{product}は{place}の配送センターにあり、{day}の午前中に届きます。",
      "倉庫で返品を確認しました。{amount}を返金しましたので、三営業日ほどお待ちください。",
      "住所を{place}に変更しました。新しい確認メールをお送りします。",
      "{day}の十時半はいかがでしょうか。同じ担当者で予約しました。",
      "アカウントのロックを解除しました。新しいリンクは一時間有効です。",
      "大変申し訳ございません。新しい{product}をお送りし、故障した品を引き取ります。",
    ],
    asking: [
      "ご注文番号を教えていただけますか。",
      "申し訳ございません。ご登録のメールアドレスはどちらでしょうか。",
      "お調べします。箱は破損していましたか。",
    ],
    detail: [
      "番号は{order}です。夫の名前で注文しました。",
      "はい、{order}です。クレジットカードで払いました。",
      "たぶん{order}だと思います。レシートが読みにくいです。",
    ],
    checking: [
      "少々お待ちください。{place}の倉庫に確認しています。",
      "ありがとうございます。荷物が二つあり、一つは天候で遅れています。",
      "本日はシステムが少し遅くなっております。",
    ],
    more: [
      "来る前に電話をもらえますか。",
      "会社宛ての領収書もお願いできますか。",
      "{product}の割引はまだありますか。",
      "隣の人が受け取れます。",
      "{day}は留守なので避けてください。",
    ],
    thanks: ["助かりました、ありがとうございます！", "それで大丈夫です👍", "ご丁寧にありがとうございました。"],
    complaint: [
      "同じことを聞くのは三回目です。本当に残念です。",
      "それでは困ります。全部キャンセルします。",
      "信じられません。約束を守ってください。",
    ],
    closing: ["どういたしまして。良い一日をお過ごしください。", "担当者に伝えておきます。ほかにご質問はございますか。"],
  },
  hi: {
    share: 6,
    names: ["आरव", "प्रिया", "रोहन", "सुनीता", "विकास"],
    products: ["कैमरा", "जूता", "हेडफ़ोन", "पंखा", "बैग"],
    places: ["मुंबई", "जयपुर", "लखनऊ", "पुणे", "दिल्ली"],
    days: ["सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार"],
    opening: ["नमस्ते {name} जी, मैं आपकी क्या सहायता कर सकता हूँ?", "नमस्ते, ग्राहक सेवा में आपका स्वागत है।"],
    problem: [
      "मेरा ऑर्डर कहाँ है? {product} {day} को आना था।",
      "मैंने दो हफ़्ते पहले {product} वापस भेजा था, {amount} अब तक नहीं मिले।",
      "मैं {place} जा रहा हूँ, क्या ऑर्डर {order} का पता बदल सकते हैं?",
      "मुझे {day} की मुलाक़ात का समय बदलना है, दफ़्तर में ज़रूरी काम आ गया।",
      "मैं अपने खाते में लॉग इन नहीं कर पा रही, पासवर्ड पुराना हो गया और लिंक नहीं आता।",
      "{product} एक हफ़्ते में ख़राब हो गया 😞 और पेंच भी कम थे।",
    ],
    solution: [
      "मिल गया: {product} {place} में है और {day} की सुबह पहुँच जाएगा।",
      "गोदाम ने वापसी की पुष्टि कर दी है। {amount} भेज दिए हैं, तीन दिन लगेंगे।",
      "हो गया। पार्सल अब {place} जाएगा और आपको नया ईमेल मिलेगा।",
      "मैं {day} को साढ़े दस बजे का समय दे सकता हूँ, वही कारीगर आएगा।",
      "आपका खाता खोल दिया है। नया लिंक एक घंटे तक चलेगा।",
      "क्षमा कीजिए। हम नया {product} भेज रहे हैं और पुराना वापस ले जाएँगे।",
    ],
    asking: ["कृपया ऑर्डर नंबर बताइए।", "मुझे खेद है। आपने कौन सा ईमेल इस्तेमाल किया था?", "देखता हूँ। क्या डिब्बा टूटा हुआ था?"],
    detail: [
      "नंबर {order} है, मेरे पति के नाम से।",
      "जी, {order}। मैंने कार्ड से भुगतान किया था।",
      "शायद {order}, रसीद साफ़ नहीं दिखती।",
    ],
    checking: [
      "एक मिनट, मैं {place} के गोदाम से पूछ रहा हूँ।",
      "धन्यवाद। दो पार्सल हैं, एक मौसम के कारण देर से आएगा।",
      "आज सिस्टम थोड़ा धीमा है, कृपया प्रतीक्षा करें।",
    ],
    more: [
      "क्या आने से पहले कोई फ़ोन करेगा?",
      "क्या कंपनी के नाम का बिल मिल सकता है?",
      "क्या {product} पर अब भी छूट है?",
      "मेरे पड़ोसी पार्सल ले सकते हैं।",
      "{day} को मत भेजिए, घर पर कोई नहीं होगा।",
    ],
    thanks: ["बहुत बढ़िया, आपका बहुत धन्यवाद!", "बस इतना ही चाहिए था 👍", "शुक्रिया, आपने अच्छी मदद की।"],
    complaint: [
      "मैं तीसरी बार पूछ रही हूँ, बहुत निराशा हुई।",
      "इससे कोई फ़ायदा नहीं, मैं सब रद्द कर दूँगा।",
      "हद है, कोई अपना वादा नहीं निभाता।",
    ],
    closing: ["आपका स्वागत है, आपका दिन शुभ हो!", "मैंने साथियों के लिए लिख दिया है। और कुछ?"],
  },
  th: {
    share: 6,
    names: ["สมชาย", "กานดา", "ณัฐ", "มาลี", "วิชัย"],
    products: ["เครื่องชงกาแฟ", "รองเท้าเดินป่า", "หูฟัง", "รถเข็นเด็ก", "โคมไฟ"],
    places: ["เชียงใหม่", "ภูเก็ต", "ขอนแก่น", "กรุงเทพ", "หาดใหญ่"],
    days: ["วันจันทร์", "วันอังคาร", "วันพุธ", "วันพฤหัสบดี", "วันศุกร์"],
    opening: ["สวัสดีคุณ{name} มีอะไรให้ช่วยไหมคะ", "สวัสดีครับ ฝ่ายบริการลูกค้ายินดีให้บริการ"],
    problem: [
      "พัสดุของฉันอยู่ที่ไหน {product}ควรจะมาถึง{day}",
      "ฉันส่ง{product}คืนเมื่อสองสัปดาห์ก่อน แต่ยังไม่ได้เงินคืน {amount}",
      "ฉันกำลังย้ายไป{place} ช่วยเปลี่ยนที่อยู่จัดส่งของคำสั่งซื้อ {order} ได้ไหม",
      "ขอเลื่อนนัด{day}ได้ไหมคะ มีงานด่วนเข้ามา",
      "เข้าสู่ระบบไม่ได้ รหัสผ่านหมดอายุและลิงก์ไม่มาสักที",
      "{product}เสียหลังจากใช้แค่หนึ่งสัปดาห์ 😞 และน็อตขาดตั้งแต่แรก",
    ],
    solution: [
      "พบแล้วค่ะ {product}อยู่ที่ศูนย์ขนส่ง{place} และจะส่งถึง{day}ช่วงเช้า",
      "คลังสินค้ายืนยันการคืนแล้ว เราโอนเงิน {amount} ให้แล้ว ใช้เวลาสามวันทำการ",
      "เรียบร้อยแล้วค่ะ พัสดุจะไปที่{place} จะมีอีเมลยืนยันส่งให้ใหม่",
      "มีคิวว่าง{day}เวลาสิบโมงครึ่ง ช่างคนเดิม จองไว้ให้แล้วค่ะ",
      "ปลดล็อกบัญชีแล้ว ลิงก์ใหม่ใช้ได้หนึ่งชั่วโมง",
      "ขออภัยอย่างยิ่ง เราจะส่ง{product}ตัวใหม่ให้และรับตัวที่เสียกลับมา",
    ],
    asking: ["ขอทราบหมายเลขคำสั่งซื้อด้วยค่ะ", "เสียใจด้วยนะคะ ใช้อีเมลอะไรในการสั่งซื้อ", "ขอตรวจสอบก่อน ตอนได้รับกล่องเสียหายไหมคะ"],
    detail: ["หมายเลข {order} สั่งในชื่อสามี", "ได้ค่ะ {order} จ่ายด้วยบัตรเครดิต", "น่าจะเป็น {order} แต่ใบเสร็จอ่านยาก"],
    checking: [
      "รอสักครู่ กำลังสอบถามคลังสินค้าที่{place}",
      "ขอบคุณค่ะ มีพัสดุสองชิ้น ชิ้นหนึ่งล่าช้าเพราะอากาศ",
      "วันนี้ระบบช้าเล็กน้อย กรุณารอสักครู่",
    ],
    more: [
      "จะโทรมาก่อนส่งไหมคะ",
      "ขอใบกำกับภาษีในนามบริษัทด้วยได้ไหม",
      "{product}ยังมีส่วนลดอยู่ไหม",
      "เพื่อนบ้านเซ็นรับแทนได้",
      "{day}ไม่มีใครอยู่บ้าน",
    ],
    thanks: ["ดีมากเลย ขอบคุณมากค่ะ", "เท่านี้ก็พอแล้ว 👍", "ขอบคุณที่ช่วยเหลือ"],
    complaint: ["ถามเป็นครั้งที่สามแล้ว ผิดหวังจริงๆ", "แบบนี้ไม่ช่วยอะไรเลย ขอยกเลิกทั้งหมด", "ไม่น่าเชื่อ ไม่มีใครรักษาคำพูด"],
    closing: ["ยินดีค่ะ ขอให้เป็นวันที่ดีนะคะ", "จดไว้ให้เพื่อนร่วมงานแล้ว มีอะไรเพิ่มเติมไหมคะ"],
  },
};
